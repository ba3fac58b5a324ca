"""A run that classifies inputs, for programs."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from transformer.inference.devices import Devices
from transformer.runs.opening import open_run
from transformer.runs.run import Run
from transformer.tasks.classification import Classification, Prediction, Unreadable


class Classifier:
  """The model, parameters and vocabulary of a run."""

  def __init__(
    self, run: Run, task: Classification, params, devices: Devices = Devices()
  ):
    """Wraps an opened run; see `open`."""
    self.run, self.task, self.params, self.devices = run, task, params, devices

  @classmethod
  def open(
    cls, path: Path | str, step: int | None = None, devices: Devices | None = None
  ) -> "Classifier":
    """Opens a run's directory; `step` is the checkpoint, the newest if None, and
    `devices` share the inputs, all of this process if None.

    Raises:
      FileNotFoundError: it is not a run, or has no such checkpoint.
      ValueError: it is damaged, or its task is not classification.
    """
    run, task = open_run(path, Classification)  # type: ignore[type-abstract]
    devices = devices or Devices.local()
    return cls(run, task, run.params(step, devices=devices), devices)

  def classify(self, inputs: Sequence[str]) -> Iterator[Prediction | Unreadable]:
    """The classes of each input, in order: an image file, or a text as the task reads
    it; `Unreadable` in the place of one that cannot be read."""
    run = self.run
    return self.task.classify(
      run.module(), self.params, run.vocabulary, inputs, self.devices
    )

  def compile(self) -> Iterator[str]:
    """Compiles every program of `classify`: yields the shape of each before it is
    compiled."""
    run = self.run
    return self.task.compile(run.module(), self.params, run.vocabulary, self.devices)
