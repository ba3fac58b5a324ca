"""Checkpoints through Orbax: atomic, asynchronous, bound to no mesh."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from transformer.training.state import TrainState


class Checkpoints:
  """The checkpoints of one run, in a directory of their own.

  A checkpoint has the weights (parameters, and running averages if there are any) and,
  beside them, whatever else training needs, so that using a run reads the weights
  alone. Use as a context manager: leaving it waits for a save under way, which would
  otherwise be lost.
  """

  def __init__(self, directory: Path, keep: int = 5):
    """Opens or makes a directory; the newest `keep` checkpoints stay."""
    self.directory = Path(directory).absolute()
    options = ocp.CheckpointManagerOptions(
      preservation_policy=policies.LatestN(keep), create=True
    )
    self._manager = ocp.CheckpointManager(self.directory, options=options)

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self.close()

  @property
  def steps(self) -> list[int]:
    """The steps of whole checkpoints, ascending; stray directories do not count."""
    steps = self._manager.all_steps()
    return sorted(s for s in steps if (self.directory / str(s) / "params").is_dir())

  def save(self, state: TrainState) -> None:
    """Saves in the background; the state may be donated at once. A step that is
    already saved is left alone.

    Raises:
      OSError, ValueError: the save before this one failed.
    """
    step = int(state.step)
    if step in self.steps:
      return
    self._manager.wait_until_finished()
    rest = {"step": state.step, "opt_state": state.opt_state}
    self._save(step, params=state.weights, rest=rest)

  def save_params(self, step: int, params: Any) -> None:
    """Saves parameters alone: enough to use a run, not to go on training it."""
    self._save(step, params=params)

  def _save(self, step: int, **items) -> None:
    saves = {name: ocp.args.StandardSave(tree) for name, tree in items.items()}
    self._manager.save(step, args=ocp.args.Composite(**saves), force=True)

  def restore(self, abstract: TrainState, step: int | None = None) -> TrainState:
    """The state at `step` (the newest if None), laid out as `abstract` says.

    Raises:
      FileNotFoundError: there is no such checkpoint.
      ValueError: its tree is not that of `abstract`, or it holds parameters alone.
    """
    step = self._find(step)
    if not (self.directory / str(step) / "rest").is_dir():
      raise ValueError(
        f"{self.directory}: step {step} holds parameters alone (an average, say); "
        "it can be used, but not trained on"
      )
    rest = {"step": abstract.step, "opt_state": abstract.opt_state}
    found = self._restore(step, params=abstract.weights, rest=rest)
    return dataclasses.replace(abstract, **found.rest).with_weights(found.params)

  def restore_params(self, abstract: Any, step: int | None = None) -> Any:
    """The parameters at `step` (the newest if None); errors as in `restore`."""
    return self._restore(self._find(step), params=abstract).params

  def _restore(self, step: int, **items):
    wanted = {name: ocp.args.StandardRestore(tree) for name, tree in items.items()}
    return self._manager.restore(step, args=ocp.args.Composite(**wanted))

  def _find(self, step: int | None) -> int:
    steps = self.steps
    if not steps:
      raise FileNotFoundError(f"{self.directory}: no checkpoint")
    if step is None:
      return steps[-1]
    if step not in steps:
      raise FileNotFoundError(
        f"{self.directory}: no checkpoint of step {step}; there are {steps}"
      )
    return step

  def wait(self) -> None:
    """Returns once the last save is on disk; raises if it failed."""
    self._manager.wait_until_finished()

  def close(self) -> None:
    """Waits and closes."""
    self._manager.wait_until_finished()
    self._manager.close()


def average(trees: list[Any]) -> Any:
  """The mean of parameter trees (§6.1), summed in float64; NumPy leaves in the dtype of
  the first tree."""

  def mean(*leaves):
    total = np.sum([np.asarray(leaf, np.float64) for leaf in leaves], axis=0)
    return np.asarray(total / len(leaves), leaves[0].dtype)

  return jax.tree.map(mean, *trees)
