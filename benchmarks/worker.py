"""A system under measurement in a process of its own, and both sides of the protocol.

A worker writes one line of JSON, with its versions; then it answers every line that it
reads, a request in JSON, with a line of JSON. This file imports nothing beyond the
standard library: the environments of the peers run it too.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
PEERS_PYTHON = HERE / ".venv-peers" / "bin" / "python"


class Worker:
  """The caller's side.

  Attributes:
    header: what the worker wrote first.
  """

  def __init__(self, *command: str, **environment: str):
    """Starts a Python with these arguments and waits for its first line."""
    self.process = subprocess.Popen(
      command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
      env={**os.environ, "PYTHONPATH": str(HERE.parent), "PYTHONWARNINGS": "ignore",
           **environment},
    )  # fmt: skip
    self.header = self._read()

  @property
  def versions(self) -> str:
    return self.header["versions"]

  def ask(self, request: dict) -> dict:
    """The answer to a request.

    Raises:
      SystemExit: the worker died.
    """
    self.process.stdin.write(json.dumps(request) + "\n")
    self.process.stdin.flush()
    return self._read()

  def close(self) -> None:
    """Ends the process."""
    self.process.stdin.close()
    self.process.wait()

  def _read(self) -> dict:
    line = self.process.stdout.readline()
    if not line:
      raise SystemExit(f"{' '.join(self.process.args)}: ended; see its output above")
    return json.loads(line)


def serve(header: dict, answer: Callable[[dict], dict]) -> None:
  """The worker's side: writes the header, and answers until its input ends."""
  print(json.dumps(header), flush=True)
  for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)


def measured(work: Callable[[], object]) -> dict[str, float]:
  """Runs `work`; what it took.

  Returns:
    `seconds` of the clock; `processor`, seconds of all threads, of which `system` in
    the kernel; `faults`, page faults without input; `peak`, GiB of the largest resident
    set of the process so far.
  """
  before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
  work()
  seconds = time.perf_counter() - start
  after = resource.getrusage(resource.RUSAGE_SELF)
  system = after.ru_stime - before.ru_stime
  unit = 1 if sys.platform == "darwin" else 1024
  return {
    "seconds": seconds,
    "processor": after.ru_utime - before.ru_utime + system,
    "system": system,
    "faults": after.ru_minflt - before.ru_minflt,
    "peak": after.ru_maxrss * unit / 2**30,
  }


def seconds_alive() -> float:
  """Seconds since this process started, its imports included; since the call before
  the first computation where the system does not tell."""
  try:
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    return uptime - int(fields[19]) / os.sysconf("SC_CLK_TCK")
  except OSError:
    return time.perf_counter() - _IMPORTED


_IMPORTED = time.perf_counter()


def in_turn(names: Iterable[str], rounds: int) -> Iterator[tuple[int, str]]:
  """`(round, name)`: every name once in a round, in an order that rotates, so that
  other load on the machine affects all alike."""
  names = list(names)
  for turn in range(rounds):
    first = turn % len(names)
    for name in names[first:] + names[:first]:
      yield turn, name
