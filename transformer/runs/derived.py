"""Runs that are made of other runs, with other parameters."""

import shutil
from pathlib import Path
from typing import Any

from transformer.runs.prepare import HUGGINGFACE
from transformer.runs.run import Run
from transformer.training.checkpoint import Checkpoints


def write_derived(
  run: Run, path: Path, params: Any, step: int, note: dict[str, Any]
) -> None:
  """Writes a run with the config and the vocabulary of another, and one checkpoint of
  parameters alone.

  Args:
    run: the other one.
    path: an empty directory.
    params: the parameters.
    step: that of the checkpoint.
    note: JSON that goes with it.
  """
  for name in ("config.json", run.config.task.vocabulary_file):
    shutil.copy(run.path / name, path / name)
  if (run.path / HUGGINGFACE).is_dir():
    shutil.copytree(run.path / HUGGINGFACE, path / HUGGINGFACE)
  with Checkpoints(path / "checkpoints") as checkpoints:
    note = {"tokenizer_sha256": run.vocabulary.sha256, **note}
    checkpoints.save_params(step, params, note)
