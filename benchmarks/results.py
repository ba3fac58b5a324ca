"""What all benchmarks say of the machine, and how they say and keep their figures."""

import argparse
import datetime
import json
import os
import platform
import re
import statistics
import subprocess
from pathlib import Path

from worker import HERE, PEERS_PYTHON

ROUNDS = 3


def add_arguments(parser: argparse.ArgumentParser, cases: dict) -> None:
  """The flags that all benchmarks have."""
  parser.add_argument(
    "--rounds", type=int, default=ROUNDS, help=f"rounds (default {ROUNDS})"
  )
  parser.add_argument(
    "--cases", default="", metavar="REGEX",
    help=f"run the cases that match (default: all), of: {'; '.join(cases)}",
  )  # fmt: skip
  parser.add_argument(
    "--peers", type=Path, default=PEERS_PYTHON, metavar="PYTHON",
    help="a Python with the peers (default: that of make peers)",
  )  # fmt: skip
  parser.add_argument(
    "--results", type=Path, default=HERE / "results" / "results.jsonl", metavar="FILE",
    help="append all figures here, a line of JSON (default %(default)s)",
  )  # fmt: skip


def chosen(parser: argparse.ArgumentParser, arguments, cases: dict) -> dict:
  """The cases that were asked for; what is wrong with the flags ends the process."""
  if arguments.rounds < 1:
    parser.error(f"--rounds: expected 1 or more, got {arguments.rounds}")
  if not arguments.peers.exists():
    parser.error(
      f"--peers: {arguments.peers}: no such file; install the peers with make peers"
    )
  try:
    found = {n: case for n, case in cases.items() if re.search(arguments.cases, n)}
  except re.error as error:
    parser.error(f"--cases: {arguments.cases!r} is no regular expression ({error})")
  if not found:
    parser.error(
      f"--cases: {arguments.cases!r} matches no case; there are: {'; '.join(cases)}"
    )
  return found


def spread(values: list[float], form: str) -> str:
  """The median, and the smallest and largest value where there are several."""
  text = format(statistics.median(values), form)
  if len(values) > 1:
    text += f" ({min(values):{form}} to {max(values):{form}})"
  return text


def heading(versions: dict[str, str]) -> list[str]:
  """Lines of Markdown: the machine, how busy it was, and the systems."""
  load = f"load average at the end {os.getloadavg()[1]:.1f} (five minutes)"
  listed = [f"* {system}: {version}" for system, version in versions.items()]
  return [f"{machine()}; {load}", "", *listed, ""]


def machine() -> str:
  """Processor, cores and Python."""
  model = platform.processor()
  try:
    cpu = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*: (.*)", cpu)[1]
  except (OSError, TypeError):
    pass
  return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def append(path: Path, benchmark: str, versions: dict[str, str], **figures) -> None:
  """Appends a line of JSON with the time, the commit and the machine to a file."""
  git = subprocess.run(
    ["git", "describe", "--always", "--dirty"], cwd=HERE, capture_output=True, text=True
  )
  record = {
    "benchmark": benchmark,
    "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    "commit": git.stdout.strip(),
    "machine": machine(),
    "load": os.getloadavg(),
    "versions": versions,
    **figures,
  }
  path.parent.mkdir(parents=True, exist_ok=True)
  with path.open("a", encoding="utf-8") as file:
    file.write(json.dumps(record) + "\n")
