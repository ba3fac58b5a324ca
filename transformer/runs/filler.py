"""A run as something that fills in gaps, for programs."""

from pathlib import Path


def open_run(path: Path | str, step: int | None = None):
  """A run's `MaskFiller`.

  Args:
    path: its directory.
    step: the checkpoint; the newest if None.

  Raises:
    FileNotFoundError: it is not a run, or has no such checkpoint.
    ValueError: it is damaged, or its task is no masked language modelling.
  """
  from transformer.runs.run import Run
  from transformer.inference.fill import MaskFiller
  from transformer.tasks.masked_language_modelling import MaskedLanguageModelling

  run = Run.open(path)
  task = run.config.task
  if not isinstance(task, MaskedLanguageModelling):
    raise ValueError(
      f"{run.path}: its task is {type(task).__name__}, which fills nothing in; use: "
      f"transformer {task.verb} {run.path}"
    )
  return MaskFiller(run.module(), run.params(step), run.tokenizer, task.context)
