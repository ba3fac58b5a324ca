"""What a run tells of itself while it trains: numbers on disk, and a progress bar."""

import csv
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tqdm

from transformer.experiment import Config
from transformer.runs.processes import is_primary
from transformer.training.step import StepMetrics


def write_whole(path: Path, data: bytes) -> None:
  """Writes a file so that it is there whole or not at all."""
  scratch = path.with_name(f".{path.name}.{os.getpid()}")
  scratch.write_bytes(data)
  os.replace(scratch, path)


class Metrics:
  """`metrics.csv` and TensorBoard, the same numbers in both, written by the first
  process alone."""

  def __init__(self, path: Path, step: int):
    """Goes on at `step`: rows of later steps, from before a stop, are taken out."""
    self._writes = is_primary()
    if not self._writes:
      return
    self._path = path / "metrics.csv"
    rows = [row for row in self.read(path) if row[0] <= step]
    text = "step,name,value\n" + "".join(f"{s},{n},{v!r}\n" for s, n, v in rows)
    write_whole(self._path, text.encode())
    self._file = self._path.open("a", encoding="utf-8")
    # Not at the top: it imports PyTorch where that is installed.
    import tensorboardX

    self._board = tensorboardX.SummaryWriter(
      str(path / "tensorboard"), purge_step=step + 1
    )

  def write(self, step: int, values: dict[str, float]) -> None:
    """Adds numbers of a step."""
    if not self._writes:
      return
    for name, value in values.items():
      self._file.write(f"{step},{name},{float(value)!r}\n")
      self._board.add_scalar(name, float(value), step)
    self._file.flush()

  def close(self) -> None:
    """Flushes and closes both."""
    if not self._writes:
      return
    self._file.close()
    self._board.close()

  @staticmethod
  def read(path: Path) -> list[tuple[int, str, float]]:
    """All rows of a run's `metrics.csv`; a last line cut short is passed over."""
    file = path / "metrics.csv"
    if not file.is_file():
      return []
    rows = []
    with file.open(encoding="utf-8", newline="") as lines:
      for row in csv.reader(lines):
        try:
          rows.append((int(row[0]), row[1], float(row[2])))
        except (ValueError, IndexError):
          continue
    return rows


class Watch:
  """The progress bar, and the numbers of the step before the newest: reading those
  does not wait for the device."""

  def __init__(
    self,
    config: Config,
    metrics: Metrics,
    begin: int,
    examples: Callable[[int], np.ndarray],
    window: tuple[float, float] = (0.0, 0.0),
  ):
    """Begins at step `begin`.

    Args:
      examples: `examples(step)` are the numbers of a batch's examples, to name them.
      window: from the watch that stopped here.
    """
    self._every, self._metrics, self._config = config.log_every, metrics, config
    self._examples = examples
    self._bar = tqdm.tqdm(
      total=config.steps, initial=begin, desc="train", unit=" steps", mininterval=1.0,
      disable=not is_primary(),
    )  # fmt: skip
    self._waiting: tuple[int, StepMetrics] | None = None
    self._total, self._count = window
    self._since = self._begun = time.monotonic()
    self._idle = 0.0

  @property
  def window(self) -> tuple[float, float]:
    """Loss and tokens since the last row, so that a resumed run writes the same row."""
    return self._total, self._count

  @property
  def seconds(self) -> float:
    """Time spent on training, evaluation not counted."""
    return time.monotonic() - self._begun - self._idle

  def step(self, done: int, numbers: StepMetrics) -> None:
    """Notes a step that was started, and reads the one before it."""
    self.flush()
    self._waiting = done, numbers

  def flush(self) -> None:
    """Reads the numbers still waiting.

    Raises:
      ValueError: too many steps in a row had no finite loss or gradient.
    """
    if self._waiting is None:
      return
    (done, numbers), self._waiting = self._waiting, None
    if int(numbers.consecutive_skips):
      self._skip(done, numbers)
    else:
      self._total += float(numbers.loss.total)
      self._count += float(numbers.loss.count)
    self._bar.update(1)
    if done % self._every == 0 or done == self._config.steps:
      now = time.monotonic()
      values = {
        # Not a number where every step since the last row was skipped.
        "train/loss": self._total / self._count if self._count else float("nan"),
        "train/tokens_per_second": self._count / max(now - self._since, 1e-9),
        "train/gradient_norm": float(numbers.gradient_norm),
        "train/rate": float(self._config.schedule(done, self._config.model.width)),
        "train/skipped": float(numbers.skipped),
      }
      self._metrics.write(done, values)
      self._bar.set_postfix_str(
        f"loss {values['train/loss']:.3f}, "
        f"{values['train/tokens_per_second']:,.0f} tokens/s"
      )
      self._total = self._count = 0.0
      self._since = now

  def _skip(self, done: int, numbers: StepMetrics) -> None:
    what = "gradient" if np.isfinite(float(numbers.loss.total)) else "loss"
    known = self._examples(done - 1).tolist()
    named = ", ".join(map(str, known[:8])) + (", …" if len(known) > 8 else "")
    self.tell(
      f"step {done}: the {what} is not finite; no update is made ({numbers.skipped} "
      f"skipped so far); its {len(known)} examples: {named}"
    )
    if int(numbers.consecutive_skips) >= self._config.max_consecutive_skips:
      raise ValueError(
        f"step {done}: {numbers.consecutive_skips} steps in a row without a finite loss and "
        "gradient; the last checkpoint is good: lower --config.schedule.rate, clip the "
        "gradient (--config.optimizer.clip=1), look at the examples named above, or "
        f"raise --config.max_consecutive_skips from {self._config.max_consecutive_skips}"
      )

  def tell(self, text: str) -> None:
    """Prints a line above the bar, once for all processes."""
    if is_primary():
      tqdm.tqdm.write(text, file=sys.stderr)

  def paused(self):
    """A context in which time does not count as training."""
    return _Pause(self)

  def scores(self, done: int, scores: dict[str, float]) -> None:
    """Writes held-out scores, and prints them above the bar."""
    self._metrics.write(done, {f"val/{name}": value for name, value in scores.items()})
    text = ", ".join(f"{name} {value:.4g}" for name, value in scores.items())
    self.tell(f"step {done}: {text}")

  def close(self) -> None:
    """Ends the bar."""
    self._bar.close()


class _Pause:
  def __init__(self, watch: Watch):
    self._watch = watch

  def __enter__(self):
    self._start = time.monotonic()

  def __exit__(self, *_):
    spent = time.monotonic() - self._start
    self._watch._idle += spent
    self._watch._since += spent
