"""A run that fills in masks, for programs."""

from pathlib import Path

from transformer.inference.devices import Devices
from transformer.inference.fill import MaskPredictor
from transformer.runs.opening import open_run
from transformer.tasks.masked_language_modelling import MaskedLanguageModelling


class Filler(MaskPredictor):
  """The model, parameters and tokenizer of a run."""

  @classmethod
  def open(
    cls, path: Path | str, step: int | None = None, devices: Devices | None = None
  ) -> "Filler":
    """Opens a run's directory; `step` is the checkpoint, the newest if None, and
    `devices` share the texts, all of this process if None.

    Raises:
      FileNotFoundError: it is not a run, or has no such checkpoint.
      ValueError: it is damaged, or its task is not masked language modelling.
    """
    run, task = open_run(path, MaskedLanguageModelling)
    devices = devices or Devices.local()
    params = run.params(step, devices=devices)
    return cls(run.module(), params, run.tokenizer, task.context, devices)
