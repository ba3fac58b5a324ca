"""Opens a run for one kind of task."""

from pathlib import Path
from typing import TypeVar

from transformer.runs.run import Run
from transformer.tasks.base import Task

T = TypeVar("T", bound=Task)


def open_run(path: Path | str, task_class: type[T]) -> tuple[Run, T]:
  """Opens a run's directory, and returns the run and its task.

  Raises:
    FileNotFoundError: it is not a run.
    ValueError: it is damaged, or its task is not of this class.
  """
  run = Run.open(path)
  task = run.config.task
  if not isinstance(task, task_class):
    raise ValueError(
      f"{run.path}: expected the task {task_class.__name__}, got "
      f"{type(task).__name__}; use: transformer {task.verb} {run.path}"
    )
  return run, task
