"""Checkpoints through Orbax: atomic, asynchronous, checked, bound to no mesh."""

import dataclasses
import functools
import hashlib
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from transformer import tree
from transformer.hashing import checksums
from transformer.training.state import TrainState

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Keep:
  """Which checkpoints stay: the newest, one every so many steps, and the best.

  Attributes:
    latest: how many of the newest.
    every: those of steps that are its multiples stay for good; 0 for none.
    best: how many of the best by the held-out score that the run goes by.
  """

  latest: int = 5
  every: int = 0
  best: int = 0

  def __post_init__(self):
    if self.latest < 1 or self.every < 0 or self.best < 0:
      raise ValueError(f"{self}: latest is 1 or more, every and best 0 or more")

  def stay(self, ranks: dict[int, float | None]) -> list[int]:
    """The steps that stay, of those in `ranks`; a higher rank is better, of
    equal ones the earlier; None was never ranked."""
    steps = sorted(ranks)
    known = [step for step in steps if ranks[step] is not None]
    best = sorted(known, key=lambda step: -ranks[step])[: self.best]  # type: ignore
    kept = {*steps[-self.latest :], *best}
    kept |= {step for step in steps if self.every and step % self.every == 0}
    return sorted(kept)


class Checkpoints:
  """The checkpoints of one run, in a directory of their own.

  A checkpoint has `params`, the weights that the run is used with (parameters or their
  moving average, and running averages if there are any); `rest`, whatever else training
  needs; and `note`, JSON with the checksum of every array. So using a run reads its
  weights alone, and a byte that changed on the disk is found. Use as a context manager:
  leaving it waits for a save under way, which would otherwise be lost.
  """

  def __init__(self, directory: Path, keep: Keep = Keep()):
    """Opens or makes a directory; `keep` says what stays at the next save."""
    self.directory = Path(directory).absolute()
    self._policy = _Policy(keep, self.note)
    self._pending: int | None = None
    options = ocp.CheckpointManagerOptions(
      preservation_policy=self._policy, create=True
    )
    self._manager = ocp.CheckpointManager(self.directory, options=options)

  def __enter__(self):
    return self

  def __exit__(self, kind, *_):
    if kind is None:
      self.close()
      return
    # A save waits for all processes, and one may be gone.
    if jax.process_count() > 1:
      return
    # A second error must not hide the first.
    try:
      self.close()
    except (ValueError, OSError) as error:
      print(f"warning: {error}", file=sys.stderr)

  @property
  def steps(self) -> list[int]:
    """The steps of whole checkpoints, ascending; stray directories do not count."""
    return steps_in(self.directory)

  def save(
    self, state: TrainState, note: dict[str, Any], rank: float | None = None
  ) -> None:
    """Saves in the background; the state may be donated at once. A step that is
    already saved is left alone.

    Args:
      state: all of it is saved.
      note: JSON that goes with it.
      rank: how good it is, higher is better; None if it was not evaluated.

    Raises:
      OSError: the save before this one failed.
    """
    step = int(state.step)
    if step in self.steps:
      return
    self.wait()
    rest = {"state": dataclasses.replace(state, params=None, ema=None)}
    if state.ema is not None:
      rest["raw"] = state.params
    self._policy.ranks[step] = rank
    self._save(step, {**note, "rank": rank}, params=state.eval_params, rest=rest)

  def save_params(self, step: int, params: Any, note: dict[str, Any]) -> None:
    """Saves parameters alone: enough to use a run, not to go on training it."""
    self._save(step, {**note, "rank": None}, params=params)

  def _save(self, step: int, note: dict[str, Any], **items) -> None:
    sums = {name: checksums(tree.paths(item)) for name, item in items.items()}
    args: dict[str, Any] = {n: ocp.args.StandardSave(item) for n, item in items.items()}
    note = {**note, "checksums": sums}
    args["note"] = ocp.args.JsonSave({**note, "sha256": _digest(note)})
    _hush()
    self._pending = step
    self._manager.save(step, args=ocp.args.Composite(**args), force=True)

  def restore(
    self, abstract: TrainState, step: int | None = None
  ) -> tuple[TrainState, dict[str, Any]]:
    """The state at `step`, laid out as `abstract` says, and its note.

    Without a step it is the newest that can be read; newer ones that cannot are put
    aside as `damaged-STEP`, with a warning.

    Raises:
      FileNotFoundError: there is no such checkpoint.
      ValueError: it is damaged, its tree is not that of `abstract`, or it holds
        parameters alone.
    """
    rest: dict[str, Any] = {
      "state": dataclasses.replace(abstract, params=None, ema=None)
    }
    if abstract.ema is not None:
      rest["raw"] = abstract.params
    items = {"params": abstract.eval_params, "rest": rest}

    def read(step: int):
      if not (self.directory / str(step) / "rest").is_dir():
        raise _NotTraining(
          f"{self.directory}: step {step} holds parameters alone (an average, say); "
          "it can be used, but not trained on"
        )
      found, note = self._restore(step, items)
      state = found["rest"]["state"]
      params, _ = tree.divide(found["params"], abstract.batch_stats)
      if abstract.ema is None:
        return dataclasses.replace(state, params=params), note
      return dataclasses.replace(state, params=found["rest"]["raw"], ema=params), note

    return self._newest(step, read, self._put_aside)

  def restore_params(
    self, abstract: Any, step: int | None = None
  ) -> tuple[Any, dict[str, Any]]:
    """The parameters that the run is used with, at `step` or the newest that can be
    read, and the note; errors as in `restore`. Changes nothing on the disk."""

    def read(step: int):
      found, note = self._restore(step, {"params": abstract})
      return found["params"], note

    return self._newest(step, read, lambda step: None)

  def note(self, step: int) -> dict[str, Any]:
    """What was saved with a step.

    Raises:
      ValueError: it is damaged.
    """
    try:
      args = ocp.args.Composite(note=ocp.args.JsonRestore())
      found = self._manager.restore(step, args=args).note
    except Exception as error:
      raise ValueError(f"its note cannot be read ({_line(error)})") from error
    if not isinstance(found, dict) or found.pop("sha256", None) != _digest(found):
      raise ValueError("its note is not what was saved")
    return found

  def _restore(self, step: int, items: dict[str, Any]):
    """Reads items and holds them against their checksums; a plain ValueError."""
    note = self.note(step)
    wanted = {name: ocp.args.StandardRestore(item) for name, item in items.items()}
    try:
      found = self._manager.restore(step, args=ocp.args.Composite(**wanted))
    # Orbax and TensorStore raise nearly anything on files that are not theirs.
    except Exception as error:
      # Of all the arrays that cannot be read, asyncio would report each at the end.
      logging.getLogger("asyncio").setLevel(logging.CRITICAL)
      raise ValueError(f"it cannot be read ({_line(error)})") from error
    for name in items:
      leaves = tree.paths(found[name])
      sums = note["checksums"].get(name, {})
      wrong = [path for path, one in checksums(leaves).items() if sums.get(path) != one]
      if wrong:
        raise ValueError(
          f"{name}/{wrong[0]} is not what was saved (its checksum differs)"
        )
    return found, note

  def _newest(
    self, step: int | None, read: Callable[[int], T], skip: Callable[[int], None]
  ) -> T:
    steps = self.steps
    if not steps:
      raise FileNotFoundError(f"{self.directory}: no checkpoint")
    if step is not None and step not in steps:
      raise FileNotFoundError(
        f"{self.directory}: no checkpoint of step {step}; there are {steps}"
      )
    damaged = []
    for one in [step] if step is not None else steps[::-1]:
      try:
        found = read(one)
      except _NotTraining:
        raise
      except ValueError as error:
        reason = f"{self.directory / str(one)}: damaged: {error}"
        damaged.append(one)
        if step is None and one != steps[0]:
          print(f"warning: {reason}; trying the one before", file=sys.stderr)
        continue
      for other in damaged:
        skip(other)
      return found
    raise ValueError(f"{reason}; no other checkpoint is left to fall back to")

  def _put_aside(self, step: int) -> None:
    """Takes a damaged checkpoint out of the way of the step to come."""
    if jax.process_index() == 0:
      target = self.directory / f"damaged-{step}"
      number = 1
      while target.exists():
        number += 1
        target = self.directory / f"damaged-{step}-{number}"
      os.replace(self.directory / str(step), target)
    self._manager.reload()

  def wait(self) -> None:
    """Returns once the last save is on disk.

    Raises:
      OSError: it failed.
    """
    pending, self._pending = self._pending, None
    reason = "is the disk full?"
    try:
      self._manager.wait_until_finished()
    except Exception as error:
      reason = _line(error)
    # Orbax does not always tell of a save that failed.
    if pending is not None and not (self.directory / str(pending)).is_dir():
      raise OSError(
        f"{self.directory}: the checkpoint of step {pending} could not be written "
        f"({reason}); earlier ones are whole"
      )

  def close(self) -> None:
    """Waits and closes; raises as `wait`."""
    try:
      self.wait()
    finally:
      self._manager.close()


def steps_in(directory: Path) -> list[int]:
  """The steps of the whole checkpoints in a directory, ascending; others have other
  names. One of several processes may ask it alone, while they open `Checkpoints`
  together."""
  found = directory.iterdir() if directory.is_dir() else ()
  return sorted(
    int(entry.name)
    for entry in found
    if entry.name.isdecimal() and (entry / "params").is_dir()
  )


class _NotTraining(ValueError):
  """A whole checkpoint, but of parameters alone."""


class _Policy(policies.PreservationPolicy):
  """Orbax's question, put to `Keep`."""

  def __init__(self, keep: Keep, note: Callable[[int], dict[str, Any]]):
    self._keep, self._note = keep, note
    self.ranks: dict[int, float | None] = {}

  def should_preserve(self, checkpoints: Sequence, *, context) -> Sequence[bool]:
    steps = [info.step for info in checkpoints]
    for step in steps:
      if step not in self.ranks:
        self.ranks[step] = self._rank(step)
    kept = self._keep.stay({step: self.ranks[step] for step in steps})
    return [step in kept for step in steps]

  def _rank(self, step: int) -> float | None:
    try:
      return self._note(step).get("rank")
    except ValueError:
      return None


@functools.cache
def _hush() -> None:
  """When a save fails, the writes under way end after Orbax has closed their event
  loop; each would print a traceback beside the one line that says what happened."""
  before = sys.unraisablehook

  def hook(found) -> None:
    if str(found.exc_value) != "Event loop is closed":
      before(found)

  sys.unraisablehook = hook


def _digest(note: dict[str, Any]) -> str:
  return hashlib.sha256(json.dumps(note, sort_keys=True).encode()).hexdigest()


def _line(error: Exception) -> str:
  """The first line of an error, cut to a readable length."""
  text = str(error).strip().partition("\n")[0] or type(error).__name__
  return text if len(text) <= 160 else f"{text[:157]}..."


def average(trees: list[Any]) -> Any:
  """The mean of parameter trees (§6.1), summed in float64; NumPy leaves in the dtype of
  the first tree."""

  def mean(*leaves):
    total = np.sum([np.asarray(leaf, np.float64) for leaf in leaves], axis=0)
    return np.asarray(total / len(leaves), leaves[0].dtype)

  return jax.tree.map(mean, *trees)
