"""A run as something that goes on with a text, for programs."""

from pathlib import Path


def open_run(path: Path | str, recipe, step: int | None = None):
  """A run's `TextGenerator`.

  Args:
    path: its directory.
    recipe: a `Generation`.
    step: the checkpoint; the newest if None.

  Raises:
    FileNotFoundError: it is not a run, or has no such checkpoint.
    ValueError: it is damaged, or its task is no language modelling.
  """
  from transformer.runs.run import Run
  from transformer.inference.generate import TextGenerator
  from transformer.tasks.language_modelling import LanguageModelling

  run = Run.open(path)
  task = run.config.task
  if not isinstance(task, LanguageModelling):
    raise ValueError(
      f"{run.path}: its task is {type(task).__name__}, and nothing to generate from; "
      f"use: transformer {task.verb} {run.path}"
    )
  params = run.params(step)
  return TextGenerator(run.module(), params, run.tokenizer, recipe, task.context)
