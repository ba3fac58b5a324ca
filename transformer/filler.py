"""A run as something that fills in gaps, for programs."""

from pathlib import Path


def open_run(path: Path | str, step: int | None = None):
  """A run's `Filler`.

  Args:
    path: its directory.
    step: the checkpoint; the newest if None.

  Raises:
    FileNotFoundError: it is not a run, or has no such checkpoint.
    ValueError: it is damaged, or its task is no masked language modelling.
  """
  from transformer.run import Run
  from transformer.tasks.filling import Filler
  from transformer.tasks.masked import MaskedLanguageModelling

  run = Run.open(path)
  task = run.config.task
  if not isinstance(task, MaskedLanguageModelling):
    raise ValueError(
      f"{run.path}: its task is {type(task).__name__}, which fills nothing in; use: "
      f"transformer {task.verb} {run.path}"
    )
  return Filler(run.module(), run.params(step), run.tokenizer, task.context)
