"""How far a run has come by its held-out scores."""

import dataclasses
from typing import Any

from transformer.experiment import Config


@dataclasses.dataclass
class Progress:
  """What held-out scores were so far; a part of every checkpoint's note.

  Attributes:
    best: the highest rank (`Metric.rank`), None before the first evaluation.
    best_step: when that was.
    stale: evaluations since then.
    evaluated: the last step that was evaluated.
    window: loss and tokens since the last row of metrics.csv (`TrainingLog.window`).
  """

  best: float | None = None
  best_step: int = 0
  stale: int = 0
  evaluated: int = 0
  window: tuple[float, float] = (0.0, 0.0)

  @classmethod
  def from_note(cls, note: dict[str, Any]) -> "Progress":
    """From a checkpoint's note, where a tuple has become a list."""
    fields = note["progress"]
    return cls(**{**fields, "window": tuple(fields["window"])})

  def record(self, step: int, rank: float) -> None:
    """Adds an evaluation; a higher rank is better."""
    self.evaluated = step
    if self.best is None or rank > self.best:
      self.best, self.best_step, self.stale = rank, step, 0
    else:
      self.stale += 1

  def out_of_patience(self, config: Config) -> bool:
    """Whether too many evaluations have passed without a new best."""
    return bool(config.patience) and self.stale >= config.patience

  def finished(self, config: Config, step: int) -> str:
    """Why there is nothing left to train after `step`, for the reader; empty if there
    is."""
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
