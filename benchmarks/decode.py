"""Decoding speed beside other libraries, measured in turn: prints ratios.

    make bench-decode                      # about half an hour on two cores
    make bench-decode ARGS="--rounds 1 --cases 'greedy$'"

All decoders have the paper's base geometry, a vocabulary of 32,000, random weights and
all cores; sentences have 32 tokens, and every output is forced to its length. A round
measures every decoder once, in an order that rotates from round to round, so that other
load on the machine affects all alike. A ratio is taken within a round: the seconds of a
decoder over those of ours in float32, above 1 where ours is faster. Compilation and
loading are not counted.

The peers have an environment of their own, `benchmarks/.venv-peers`, which `make peers`
installs.
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PEERS_PYTHON = HERE / ".venv-peers" / "bin" / "python"


def case(sentences: int, output: int, beam: int) -> dict[str, int]:
  """The request that a worker reads."""
  return {"sentences": sentences, "source": 32, "output": output, "beam": beam}


CASES = {
  "64 sentences, 48 tokens, greedy": case(64, 48, 1),
  "64 sentences, 48 tokens, beam 4": case(64, 48, 4),
  "1 sentence, 48 tokens, greedy": case(1, 48, 1),
  "1 sentence, 48 tokens, beam 4": case(1, 48, 4),
  **{f"64 sentences, {n} tokens, greedy": case(64, n, 1) for n in (32, 64, 128, 256)},
}
PEERS = {
  "Hugging Face": "huggingface",
  "CTranslate2 float32": "float32",
  "CTranslate2 int8": "int8",
}
OURS, OURS_INT8 = "ours float32", "ours int8"


class Worker:
  """A decoder in its own process. It writes its versions as one line of JSON; then it
  answers every line that it reads, a case, with a line of seconds and tokens."""

  def __init__(self, *command: str):
    self.process = subprocess.Popen(
      command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
      env={**os.environ, "PYTHONPATH": str(HERE.parent), "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    self.versions = self.read()["versions"]

  def read(self) -> dict:
    """One answer."""
    line = self.process.stdout.readline()
    if not line:
      raise SystemExit(f"{' '.join(self.process.args)}: ended; see its output above")
    return json.loads(line)

  def seconds(self, case: dict[str, int]) -> float:
    """Runs one case.

    Raises:
      SystemExit: the worker died, or wrote another number of tokens.
    """
    self.process.stdin.write(json.dumps(case) + "\n")
    self.process.stdin.flush()
    answer = self.read()
    if answer["tokens"] != case["sentences"] * case["output"]:
      raise SystemExit(
        f"{' '.join(self.process.args)}: {case}: expected "
        f"{case['sentences'] * case['output']} tokens, got {answer['tokens']}"
      )
    return answer["seconds"]


def measure(workers: dict[str, Worker], cases: dict, rounds: int) -> dict:
  """Seconds of every case and decoder, round by round: `seconds[case][decoder]`."""
  for worker in workers.values():
    worker.seconds(case(sentences=3, output=5, beam=2))
  seconds = {name: {decoder: [] for decoder in workers} for name in cases}
  for turn in range(rounds):
    for name, work in cases.items():
      order = (
        list(workers)[turn % len(workers) :] + list(workers)[: turn % len(workers)]
      )
      for decoder in order:
        seconds[name][decoder].append(workers[decoder].seconds(work))
      last = ", ".join(f"{d} {times[-1]:.2f}" for d, times in seconds[name].items())
      print(f"round {turn + 1}, {name}: {last} s", file=sys.stderr, flush=True)
  return seconds


def spread(values: list[float], form: str) -> str:
  """The median, and the smallest and largest value where there are several."""
  text = format(statistics.median(values), form)
  if len(values) > 1:
    text += f" ({min(values):{form}} to {max(values):{form}})"
  return text


def report(seconds: dict, cases: dict, versions: dict[str, str]) -> str:
  """Markdown: the machine, output tokens per second, and the ratios to our seconds."""
  load = f"load average at the end {os.getloadavg()[1]:.1f} (five minutes)"
  lines = [f"{machine()}; {load}", ""]
  lines += [f"* {decoder}: {version}" for decoder, version in versions.items()]
  lines += ["", "| work | decoder | output tokens/s | ours is faster by |"]
  lines += ["| --- | --- | --- | --- |"]
  for name, times in seconds.items():
    tokens = cases[name]["sentences"] * cases[name]["output"]
    for decoder, own in times.items():
      rates = [tokens / each for each in own]
      ratios = [peer / ours for peer, ours in zip(own, times[OURS], strict=True)]
      ratio = "" if decoder == OURS else spread(ratios, ".2f")
      lines.append(f"| {name} | {decoder} | {spread(rates, '.0f')} | {ratio} |")
  return "\n".join(lines)


def machine() -> str:
  """Processor, cores and Python."""
  model = platform.processor()
  try:
    cpu = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*: (.*)", cpu)[1]
  except (OSError, TypeError):
    pass
  return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
  parser.add_argument("--rounds", type=int, default=3, help="rounds (default 3)")
  parser.add_argument(
    "--cases",
    default="",
    help="run the cases that match this regular expression (default: all)",
  )
  parser.add_argument(
    "--output", type=Path, help="also write all seconds to a JSON file"
  )
  arguments = parser.parse_args()
  cases = {name: c for name, c in CASES.items() if re.search(arguments.cases, name)}
  if not cases:
    parser.error(
      f"--cases: {arguments.cases!r} matches no case; there are: {'; '.join(CASES)}"
    )
  if arguments.rounds < 1:
    parser.error(f"--rounds: expected 1 or more, got {arguments.rounds}")
  if not PEERS_PYTHON.exists():
    parser.error(f"{PEERS_PYTHON}: no such file; install the peers with make peers")
  ours = sys.executable, str(HERE / "ours.py")
  workers = {OURS: Worker(*ours, "float32"), OURS_INT8: Worker(*ours, "int8")}
  for decoder, kind in PEERS.items():
    workers[decoder] = Worker(
      str(PEERS_PYTHON), str(HERE / "peers.py"), str(HERE / ".cache"), kind
    )
  seconds = measure(workers, cases, arguments.rounds)
  versions = {decoder: worker.versions for decoder, worker in workers.items()}
  print(report(seconds, cases, versions))
  if arguments.output:
    record = {"machine": machine(), "versions": versions, "seconds": seconds}
    arguments.output.write_text(json.dumps(record, indent=2))


if __name__ == "__main__":
  main()
