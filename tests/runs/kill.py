"""Kills a training process at random moments until it finishes, and compares the run
with one that was left alone: `python -m tests.runs.kill --kills 50`.

The moments fall on start-up, steps, saves and evaluations alike; what each interrupted
is counted from what was found on the disk and on standard error.
"""

import argparse
import collections
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from transformer.runs.metrics import Metrics
from transformer.runs.run import Run

ROOT = Path(__file__).resolve().parents[2]
BEGINS = "steps an epoch"  # in what a process prints when it is about to train
WAIT = 600  # seconds until a process that says nothing is given up

CONFIG = """
from transformer.data.batching import Packed
from transformer.data.sources.dates import Dates
from transformer.data.tokenizers.sentence_piece import SentencePiece
from transformer.experiment import Config
from transformer.models.transformer import Transformer

def get_config():
  return Config(
    data=Dates(examples=400, held_out=40),
    model=Transformer(layers=2, d_model=16, d_ff=24, heads=2),
    tokenizer=SentencePiece(vocabulary=560),
    batching=Packed(tokens=512, length=64),
    log_every=3, ema=0.9,
  )
"""


def command(folder: Path, name: str, steps: int) -> list[str]:
  """Trains `folder/name`."""
  config = folder / "config.py"
  config.write_text(CONFIG)
  return [
    sys.executable, str(ROOT / "train.py"), "--config", str(config), "--workdir",
    str(folder / name), f"--config.steps={steps}", "--config.eval_every=20",
    "--config.save_every=4",
  ]  # fmt: skip


class Process:
  """A training process, and what it writes to standard error."""

  def __init__(self, words: list[str], log: Path):
    self._log = log
    self._file = log.open("wb")
    self.process = subprocess.Popen(words, cwd=ROOT, stderr=self._file)

  def output(self) -> str:
    """Standard error so far."""
    return self._log.read_bytes().decode(errors="replace")

  def wait_for(self, text: str) -> bool:
    """Waits until `text` was written; False if the process ended first."""
    stop = time.monotonic() + WAIT
    while text not in self.output():
      if self.process.poll() is not None:
        return text in self.output()
      assert time.monotonic() < stop, f"no {text!r} in {self.output()[-500:]}"
      time.sleep(0.02)
    return True

  def wait(self) -> int:
    """The exit status."""
    status = self.process.wait(timeout=WAIT)
    self._file.close()
    return status


def wait_for_steps(process: Process, path: Path) -> bool:
  """Waits until the first steps since the start are done: before, a process imports
  and compiles. False if it ended first."""
  if not process.wait_for(BEGINS):
    return False
  file, stop = path / "metrics.csv", time.monotonic() + WAIT

  def size() -> int:
    return file.stat().st_size if file.exists() else 0

  before = size()
  while size() == before:
    if process.process.poll() is not None:
      return False
    assert time.monotonic() < stop, process.output()[-500:]
    time.sleep(0.005)
  return True


def torment(folder: Path, steps: int, kills: int, seed: int) -> dict:
  """Trains one run whole and one killed; what was seen of both."""
  rng = random.Random(seed)
  whole = Process(command(folder, "whole", steps), folder / "log")
  assert wait_for_steps(whole, folder / "whole"), whole.output()
  start = time.monotonic()
  assert whole.wait() == 0, whole.output()
  spent = time.monotonic() - start
  interrupted: collections.Counter = collections.Counter()
  words, path = command(folder, "killed", steps), folder / "killed"
  while True:
    process = Process(words, folder / "log")
    if interrupted.total() < kills:
      if rng.random() < 0.1:
        time.sleep(rng.uniform(0, 3))
      elif wait_for_steps(process, path):
        # Long enough to come forward between two kills, short enough for all of them.
        time.sleep(rng.uniform(0, 1.6 * spent / kills))
      process.process.send_signal(signal.SIGKILL)
      if process.wait() == -signal.SIGKILL:
        interrupted[moment(process.output(), path)] += 1
        continue
    status = process.wait()
    assert status == 0, process.output()[-2000:]
    break
  return {
    "kills": interrupted.total(),
    "interrupted": dict(interrupted),
    "steps": Run.open(path).steps(),
    "same parameters": digest(path) == digest(folder / "whole"),
    "same losses": losses(path) == losses(folder / "whole"),
    "rows": len(losses(path)),
    "parameters_sha256": digest(path),
  }


def moment(output: str, path: Path) -> str:
  """What a kill interrupted."""
  if BEGINS not in output:
    return "start-up"
  if any((path / "checkpoints").glob("*-tmp*")):
    return "save"
  return "evaluation" if output.rfind("val:") > output.rfind("step ") else "step"


def digest(path: Path) -> str:
  """As `transformer info` tells it."""
  done = subprocess.run(
    [sys.executable, "-m", "transformer.cli", "info", str(path), "--json"],
    cwd=ROOT, capture_output=True, check=True,
  )  # fmt: skip
  return json.loads(done.stdout)["parameters_sha256"]


def losses(path: Path) -> list[tuple[int, float]]:
  """The training losses by step."""
  return [(step, v) for step, name, v in Metrics.read(path) if name == "train/loss"]


if __name__ == "__main__":
  flags = argparse.ArgumentParser(description=__doc__)
  flags.add_argument("--kills", type=int, default=50)
  flags.add_argument("--steps", type=int, default=400)
  flags.add_argument("--seed", type=int, default=0)
  given = flags.parse_args()
  with tempfile.TemporaryDirectory() as name:
    found = torment(Path(name), given.steps, given.kills, given.seed)
  print(json.dumps(found, indent=2))
  sys.exit(not (found["same parameters"] and found["same losses"]))
