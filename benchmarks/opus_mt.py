"""A model of OPUS-MT's size imported, and its decoding speed beside CTranslate2.

    python benchmarks/opus_mt.py [--rounds N] [--peers PYTHON]

The model is Hugging Face's MarianMT with random weights: 6 and 6 layers, 512 wide, a
vocabulary of 58,101. `transformer convert` makes a run of its directory, in a process
of its own whose seconds and peak memory are printed, and CTranslate2's converter makes
its own form of the same directory. Both decode in turn, in float32, as in `decode.py`.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

from decode import OURS, case, measure, report
from worker import HERE, PEERS_PYTHON, Worker

VOCABULARY = 58_101
CASES = {
  "64 sentences, 48 tokens, greedy": case(64, 48, 1),
  "64 sentences, 48 tokens, beam 4": case(64, 48, 4),
}


def convert(directory: Path, run: Path) -> None:
  """Makes the run, and prints what that takes."""
  shutil.rmtree(run, ignore_errors=True)
  before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
  start = time.perf_counter()
  subprocess.run(
    [sys.executable, "-m", "transformer.cli", "convert", str(directory), str(run)],
    check=True, env={**os.environ, "PYTHONPATH": str(HERE.parent)},
  )  # fmt: skip
  seconds = time.perf_counter() - start
  peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
  size = (directory / "model.safetensors").stat().st_size
  # The largest of all children so far: this one's, if it grew.
  known = "" if peak > before else "at most "
  print(
    f"convert: {seconds:.1f} s, peak memory {known}{peak / 1024:,.0f} MiB, for weights "
    f"of {size / 2**20:,.0f} MiB\n"
  )


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
  parser.add_argument("--rounds", type=int, default=3, help="rounds (default 3)")
  parser.add_argument(
    "--peers", type=Path, default=PEERS_PYTHON, metavar="PYTHON",
    help="a Python with the peers (default: that of make peers)",
  )  # fmt: skip
  arguments = parser.parse_args()
  cache = HERE / ".cache"
  peer = Worker(
    str(arguments.peers), str(HERE / "peers.py"), str(cache), "float32", str(VOCABULARY)
  )
  (directory,) = cache.glob(f"marian-*-{VOCABULARY}")
  run = cache / "opus_mt_run"
  convert(directory, run)
  ours = Worker(sys.executable, str(HERE / "ours.py"), "float32", str(run))
  workers = {OURS: ours, "CTranslate2 float32": peer}
  seconds = measure(workers, CASES, arguments.rounds)
  versions = {decoder: worker.versions for decoder, worker in workers.items()}
  print(report(seconds, CASES, versions))


if __name__ == "__main__":
  main()
