"""A run that continues prompts, for programs."""

from pathlib import Path

from transformer.inference.devices import Devices
from transformer.inference.generate import Generation, TextGenerator
from transformer.runs.opening import open_run
from transformer.tasks.language_modelling import LanguageModelling


class Generator(TextGenerator):
  """The model, parameters and tokenizer of a run, and how prompts are continued."""

  @classmethod
  def open(
    cls,
    path: Path | str,
    recipe: Generation = Generation(),
    step: int | None = None,
    devices: Devices | None = None,
  ) -> "Generator":
    """Opens a run.

    Args:
      path: its directory.
      recipe: sampler, number and length of the continuations.
      step: the checkpoint; the newest if None.
      devices: share the prompts; all of this process if None.

    Raises:
      FileNotFoundError: it is not a run, or has no such checkpoint.
      ValueError: it is damaged, or its task is not language modelling.
    """
    run, task = open_run(path, LanguageModelling)
    devices = devices or Devices.local()
    params = run.params(step, devices=devices)
    return cls(
      run.module(), params, run.tokenizer, recipe, task.generation_context, devices,
      task.start_token,
    )  # fmt: skip
