"""Checkpoints through Orbax: atomic, asynchronous, checked, bound to no mesh."""

import dataclasses
import functools
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import jax
import orbax.checkpoint as ocp

from transformer import tree
from transformer.training import manifest
from transformer.training.keep import Keep, PreservationPolicy
from transformer.training.state import TrainState

T = TypeVar("T")


class CheckpointMismatch(ValueError):
  """A checkpoint that is whole, but not what is asked for: of another model, or of
  parameters alone; with its note."""

  def __init__(self, message: str, note: dict[str, Any]):
    super().__init__(message)
    self.note = note


class Checkpoints:
  """The checkpoints of one run, in a directory of their own.

  A checkpoint has `params`, the weights that the run is used with (parameters or their
  moving average, and batch statistics if there are any); `rest`, whatever else training
  needs; and `note`, JSON with the shape and checksum of every array. So using a run
  reads its weights alone, and a byte that changed on the disk is found. Use as a
  context manager: leaving it waits for a save under way, which would otherwise be lost.
  """

  def __init__(self, directory: Path, keep: Keep = Keep()):
    """Opens or makes a directory; `keep` applies from the next save on."""
    self.directory = Path(directory).absolute()
    self._policy = PreservationPolicy(keep, self._read_rank)
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
    """Saves parameters alone: enough to use a run, not to continue its training."""
    self._save(step, {**note, "rank": None}, params=params)

  def _save(self, step: int, note: dict[str, Any], **items) -> None:
    args: dict[str, Any] = {n: ocp.args.StandardSave(item) for n, item in items.items()}
    args["note"] = ocp.args.JsonSave(manifest.seal({**note, **manifest.make(items)}))
    _silence_closed_loop()
    self._pending = step
    self._manager.save(step, args=ocp.args.Composite(**args), force=True)

  def restore(
    self, abstract: TrainState, step: int | None = None
  ) -> tuple[TrainState, dict[str, Any]]:
    """The state at `step`, sharded as `abstract` is, and its note.

    Without a step it is the newest that can be read; newer ones that are damaged are
    moved to `damaged-STEP`, with a warning.

    Raises:
      FileNotFoundError: there is no such checkpoint.
      CheckpointMismatch: its arrays are not those of `abstract`, or it holds parameters
        alone.
      ValueError: it is damaged.
    """
    rest: dict[str, Any] = {
      "state": dataclasses.replace(abstract, params=None, ema=None)
    }
    if abstract.ema is not None:
      rest["raw"] = abstract.params
    items = {"params": abstract.eval_params, "rest": rest}

    def read(step: int):
      if not (self.directory / str(step) / "rest").is_dir():
        raise CheckpointMismatch(
          f"{self.directory}: step {step} holds parameters alone (an average, say); "
          "it can be used, but not trained further",
          self.note(step),
        )
      restored, note = self._restore(step, items)
      state = restored["rest"]["state"]
      params, _ = tree.divide(restored["params"], abstract.batch_stats)
      if abstract.ema is None:
        return dataclasses.replace(state, params=params), note
      raw = restored["rest"]["raw"]
      return dataclasses.replace(state, params=raw, ema=params), note

    return self._read_newest(step, read, self._set_aside)

  def restore_params(
    self, abstract: Any, step: int | None = None
  ) -> tuple[Any, dict[str, Any]]:
    """The parameters that the run is used with, at `step` or the newest that can be
    read, and the note; errors as in `restore`. Changes nothing on the disk."""

    def read(step: int):
      restored, note = self._restore(step, {"params": abstract})
      return restored["params"], note

    return self._read_newest(step, read, lambda step: None)

  def note(self, step: int) -> dict[str, Any]:
    """What was saved with a step.

    Raises:
      ValueError: it is damaged.
    """
    try:
      args = ocp.args.Composite(note=ocp.args.JsonRestore())
      note = self._manager.restore(step, args=args).note
    except Exception as error:
      raise ValueError(f"its note cannot be read ({_line(error)})") from error
    return manifest.unseal(note)

  def _read_rank(self, step: int) -> float | None:
    try:
      return self.note(step).get("rank")
    except ValueError:
      return None

  def _restore(self, step: int, items: dict[str, Any]):
    """Reads items and verifies them.

    Raises:
      CheckpointMismatch: other arrays were saved.
      ValueError: it is damaged.
    """
    note = self.note(step)
    difference = manifest.difference(note, items)
    if difference:
      raise CheckpointMismatch(
        f"{self.directory / str(step)}: the config does not match the checkpoint: "
        f"{difference}",
        note,
      )
    args = {name: ocp.args.StandardRestore(item) for name, item in items.items()}
    try:
      restored = self._manager.restore(step, args=ocp.args.Composite(**args))
    # Orbax and TensorStore raise nearly anything on files that are not theirs.
    except Exception as error:
      # Of all the arrays that cannot be read, asyncio would report each at the end.
      logging.getLogger("asyncio").setLevel(logging.CRITICAL)
      raise ValueError(f"it cannot be read ({_line(error)})") from error
    manifest.verify(note, {name: restored[name] for name in items})
    return restored, note

  def _read_newest(
    self, step: int | None, read: Callable[[int], T], skip: Callable[[int], None]
  ) -> T:
    """What `read` returns for `step`, or else for the newest step for which it raises
    no ValueError; `skip` is called with the newer ones."""
    steps = self.steps
    if not steps:
      raise FileNotFoundError(f"{self.directory}: no checkpoint")
    if step is not None and step not in steps:
      raise FileNotFoundError(
        f"{self.directory}: no checkpoint of step {step}; there are {steps}"
      )
    damaged = []
    for candidate in [step] if step is not None else steps[::-1]:
      try:
        result = read(candidate)
      except CheckpointMismatch:
        raise
      except ValueError as error:
        reason = f"{self.directory / str(candidate)}: damaged: {error}"
        damaged.append(candidate)
        if step is None and candidate != steps[0]:
          print(f"warning: {reason}; trying the one before", file=sys.stderr)
        continue
      for newer in damaged:
        skip(newer)
      return result
    raise ValueError(f"{reason}; no other checkpoint is left to fall back to")

  def _set_aside(self, step: int) -> None:
    """Renames a damaged checkpoint, so that its step can be saved again."""
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
    # Orbax does not report every save that failed.
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
  """The steps of the whole checkpoints in a directory, ascending; damaged and
  unfinished ones have other names. Unlike `Checkpoints`, which every process must open,
  it may be called by one alone."""
  entries = directory.iterdir() if directory.is_dir() else ()
  return sorted(
    int(entry.name)
    for entry in entries
    if entry.name.isdecimal() and (entry / "params").is_dir()
  )


@functools.cache
def _silence_closed_loop() -> None:
  """When a save fails, the writes under way end after Orbax has closed their event
  loop; each would print a traceback beside the one line that says what happened."""
  previous = sys.unraisablehook

  def hook(unraisable) -> None:
    if str(unraisable.exc_value) != "Event loop is closed":
      previous(unraisable)

  sys.unraisablehook = hook


def _line(error: Exception) -> str:
  """The first line of an error, cut to a readable length."""
  text = str(error).strip().partition("\n")[0] or type(error).__name__
  return text if len(text) <= 160 else f"{text[:157]}..."
