"""How far a run has come: what it has taken, and its held-out scores."""

import dataclasses
from typing import Any, NamedTuple

from transformer.experiment import Config


class Spent(NamedTuple):
  """What training has taken since the run's first start: compiling and saving counted,
  evaluation not.

  The target tokens are those with a loss (labels, where these are not tokens), without
  skipped batches. Processor seconds are those of all threads of this process.
  """

  target_tokens: float = 0.0
  seconds: float = 0.0
  processor_seconds: float = 0.0


@dataclasses.dataclass
class Progress:
  """What held-out scores were so far; a part of every checkpoint's note.

  Attributes:
    best: the highest rank (`Metric.rank`), None before the first evaluation.
    best_step: when that was.
    stale: evaluations since then.
    evaluated: the last step that was evaluated.
    window: loss and tokens since the last row of metrics.csv (`TrainingLog.window`).
    spent: what training has taken.
  """

  best: float | None = None
  best_step: int = 0
  stale: int = 0
  evaluated: int = 0
  window: tuple[float, float] = (0.0, 0.0)
  spent: Spent = Spent()

  @classmethod
  def from_note(cls, note: dict[str, Any]) -> "Progress":
    """From a checkpoint's note, where a tuple has become a list."""
    fields = note["progress"]
    spent = Spent(*fields.get("spent", ()))  # older runs did not record it
    return cls(**{**fields, "window": tuple(fields["window"]), "spent": spent})

  def record(self, step: int, rank: float) -> None:
    """Adds an evaluation; a higher rank is better."""
    self.evaluated = step
    if self.best is None or rank > self.best:
      self.best, self.best_step, self.stale = rank, step, 0
    else:
      self.stale += 1

  def lacks_evaluation(self, config: Config, step: int) -> bool:
    """Whether the evaluation that was due at `step` is still to be made."""
    due = step % config.eval_every == 0 or step == config.steps
    return due and self.evaluated < step

  def out_of_patience(self, config: Config) -> bool:
    """Whether too many evaluations have passed without a new best."""
    return bool(config.patience) and self.stale >= config.patience

  def finished(self, config: Config, step: int) -> str:
    """Why there is nothing left to train after `step`, for the reader; empty if there
    is, as where the evaluation of `step` is still to be made."""
    if self.lacks_evaluation(config, step):
      return ""
    if step >= config.steps:
      follows = config.schedule.resolved(step) != config.schedule
      keep = f", and keep the schedule with --config.schedule.steps={step}" * follows
      return (
        f"already at step {step} of {config.steps}; raise --config.steps to continue"
        f"{keep}"
      )
    if self.out_of_patience(config):
      return (
        f"stopped at step {step} of {config.steps}: {config.metric} is no better since "
        f"step {self.best_step}; raise --config.patience from {config.patience} to "
        "continue"
      )
    return ""
