"""What a run prints and writes while it trains."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tqdm

from transformer.experiment import Config
from transformer.runs.metrics import Metrics
from transformer.runs.processes import is_primary
from transformer.runs.progress import Progress, Spent
from transformer.training.step import StepMetrics


def shows_bars() -> bool:
  """Whether this process draws progress bars: the first, on a terminal. Elsewhere their
  carriage returns would make a file one line without end."""
  return is_primary() and sys.stderr.isatty()


class Diverged(ValueError):
  """Too many steps in a row had no finite loss or gradient."""


class TrainingLog:
  """The progress bar, and the numbers of the step before the newest: reading those
  does not wait for the device.

  Where standard error is no terminal, a line every `log_every` steps replaces the bar.
  """

  def __init__(
    self,
    config: Config,
    metrics: Metrics,
    start: int,
    examples: Callable[[int], np.ndarray],
    progress: Progress,
  ):
    """Starts after step `start`.

    Args:
      config: of the run.
      metrics: where the numbers are written.
      start: steps already done.
      examples: `examples(step)` are the indices of a batch's examples, to name them.
      progress: how far the run had come there.
    """
    self._every, self._metrics, self._config = config.log_every, metrics, config
    self._examples = examples
    self._bar = tqdm.tqdm(
      total=config.steps, initial=start, desc="train", unit=" steps", mininterval=1.0,
      disable=not shows_bars(),
    )  # fmt: skip
    self._compiled: tuple[int, float] | None = None  # the first step, and when it ended
    self._pending: tuple[int, StepMetrics] | None = None
    self._total, self._count = progress.window
    self._spent = progress.spent  # its tokens are kept up to date, its times are not
    self._since = self._started = time.monotonic()
    self._tokens = 0.0  # of the last row or the start on, whichever was later
    self._processor_start = time.process_time()
    self._idle = self._processor_idle = 0.0

  @property
  def window(self) -> tuple[float, float]:
    """Loss and tokens since the last row, so that a resumed run writes the same row."""
    return self._total, self._count

  @property
  def seconds(self) -> float:
    """Time spent on training, evaluation not counted."""
    return time.monotonic() - self._started - self._idle

  @property
  def spent(self) -> Spent:
    """What training has taken since the run's first start."""
    processor_seconds = time.process_time() - self._processor_start
    return Spent(
      self._spent.target_tokens,
      self._spent.seconds + self.seconds,
      self._spent.processor_seconds + processor_seconds - self._processor_idle,
    )

  def add_step(self, step: int, metrics: StepMetrics) -> None:
    """Adds a step that was started, and reads the one before it."""
    self.flush()
    self._pending = step, metrics

  def flush(self) -> None:
    """Reads the numbers still pending.

    Raises:
      Diverged: too many steps in a row had no finite loss or gradient.
    """
    if self._pending is None:
      return
    (step, metrics), self._pending = self._pending, None
    if int(metrics.consecutive_skips):
      self._report_skip(step, metrics)
    else:
      count = float(metrics.loss.count)
      self._total += float(metrics.loss.total)
      self._count += count
      self._tokens += count
      tokens = self._spent.target_tokens + count
      self._spent = self._spent._replace(target_tokens=tokens)
    self._bar.update(1)
    if self._compiled is None:
      self._compiled = step, time.monotonic()
    if step % self._every == 0 or step == self._config.steps:
      now = time.monotonic()
      values = {
        # Not a number where every step since the last row was skipped.
        "train/loss": self._total / self._count if self._count else float("nan"),
        "train/tokens_per_second": self._tokens / max(now - self._since, 1e-9),
        "train/gradient_norm": float(metrics.gradient_norm),
        "train/rate": float(self._config.learning_rate(step)),
        "train/skipped": float(metrics.skipped),
        **{f"train/{name}": value for name, value in self.spent._asdict().items()},
      }
      self._metrics.write(step, values)
      text = (
        f"loss {values['train/loss']:.3f}, rate {values['train/rate']:.2e}, "
        f"{values['train/tokens_per_second']:,.0f} tokens/s"
      )
      if self._bar.disable:
        left = self._time_left(step, now)
        self.print(f"step {step:,} of {self._config.steps:,}: {text}{left}")
      else:
        self._bar.set_postfix_str(text)
      self._total = self._count = self._tokens = 0.0
      self._since = now

  def _time_left(self, step: int, now: float) -> str:
    """Until the last step at the pace so far, evaluation and saving included; the first
    step, which is compiled, does not count."""
    assert self._compiled is not None
    first, since = self._compiled
    if step in (first, self._config.steps):
      return ""
    seconds = (now - since) / (step - first) * (self._config.steps - step)
    return f", {tqdm.tqdm.format_interval(seconds)} left"

  def _report_skip(self, step: int, metrics: StepMetrics) -> None:
    what = "gradient" if np.isfinite(float(metrics.loss.total)) else "loss"
    indices = self._examples(step - 1).tolist()
    named = ", ".join(map(str, indices[:8])) + (", …" if len(indices) > 8 else "")
    self.print(
      f"step {step}: the {what} is not finite; no update is made ({metrics.skipped} "
      f"skipped so far); its {len(indices)} examples: {named}"
    )
    if int(metrics.consecutive_skips) >= self._config.max_consecutive_skips:
      skips, limit = metrics.consecutive_skips, self._config.max_consecutive_skips
      raise Diverged(
        f"step {step}: {skips} steps in a row without a finite loss and gradient; the "
        "last checkpoint is good: lower --config.schedule.rate, clip the gradient "
        "(--config.optimizer.clip=1), look at the examples named above, or raise "
        f"--config.max_consecutive_skips from {limit}"
      )

  def print(self, text: str) -> None:
    """Prints a line above the bar, once for all processes."""
    if is_primary():
      tqdm.tqdm.write(text, file=sys.stderr)

  def print_stop(self, path: Path, step: int) -> None:
    """Prints that the run in `path` was stopped after `step`."""
    steps = self._config.steps
    self.print(
      f"{path}: stopped at step {step} of {steps}; the same command resumes it"
    )

  @contextlib.contextmanager
  def paused(self) -> Iterator[None]:
    """A context in which time does not count as training."""
    start, processor_start = time.monotonic(), time.process_time()
    try:
      yield
    finally:
      idle = time.monotonic() - start
      self._idle += idle
      self._since += idle
      self._processor_idle += time.process_time() - processor_start

  def add_scores(self, step: int, scores: dict[str, float]) -> None:
    """Writes held-out scores, and prints them above the bar."""
    self._metrics.write(step, {f"val/{name}": value for name, value in scores.items()})
    text = ", ".join(f"{name} {value:.4g}" for name, value in scores.items())
    self.print(f"step {step}: {text}")

  def close(self) -> None:
    """Closes the bar."""
    self._bar.close()
