"""A run as something that tells what its inputs are, for programs."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  from transformer.tasks.classification import Answer


class Classifier:
  """Parameters, vocabulary and task of a run, opened once and used often."""

  def __init__(self, run, params):
    """See `open`."""
    self.run, self.params = run, params

  @classmethod
  def open(cls, path: Path | str, step: int | None = None) -> "Classifier":
    """Opens a run's directory; `step` is the checkpoint, the newest if None.

    Raises:
      FileNotFoundError: it is not a run, or has no such checkpoint.
      ValueError: it is damaged, or its task is no classification.
    """
    from transformer.runs.run import Run
    from transformer.tasks.classification import Classifying

    run = Run.open(path)
    task = run.config.task
    if not isinstance(task, Classifying):
      raise ValueError(
        f"{run.path}: its task is {type(task).__name__}, and knows no classes; use: "
        f"transformer {task.verb} {run.path}"
      )
    return cls(run, run.params(step))

  def classify(self, inputs: Sequence[str]) -> Iterator["Answer"]:
    """What each input is, in order: an image file, or a text as the task takes it.

    Raises:
      OSError, ValueError: an input cannot be read.
    """
    run = self.run
    return run.config.task.classify(run.module(), self.params, run.vocabulary, inputs)
