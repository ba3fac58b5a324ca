"""Checkpoints through Orbax: atomic, asynchronous, checked, bound to no mesh."""

import dataclasses
import functools
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from transformer import tree
from transformer.training import manifest
from transformer.training.checkpoint_reader import (
  CheckpointMismatch,
  ReadParams,
  check_shapes,
  first_line,
  read_newest,
  read_note,
  read_params,
  steps_in,
)
from transformer.training.keep import Keep
from transformer.training.state import TrainState


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

  def amend(self, step: int, note: dict[str, Any], rank: float) -> None:
    """Replaces the note and the rank of a step that is saved, and not its arrays.

    Raises:
      ValueError: the note is damaged.
      OSError: it cannot be written.
    """
    self._policy.ranks[step] = rank
    if jax.process_index() == 0:
      file = self.directory / str(step) / "note" / "metadata"
      sealed = manifest.seal({**self.note(step), **note, "rank": rank})
      scratch = file.with_name(".metadata")
      scratch.write_text(json.dumps(sealed))
      os.replace(scratch, file)

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

    return read_newest(self.directory, step, read, self._set_aside)

  def restore_params(self, abstract: Any, step: int | None = None) -> ReadParams:
    """The parameters that the run is used with, their note and their step; see
    `checkpoint_reader.read_params`."""
    return read_params(self.directory, abstract, step)

  def note(self, step: int) -> dict[str, Any]:
    """What was saved with a step.

    Raises:
      ValueError: it is damaged.
    """
    return read_note(self.directory, step)

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
    note = check_shapes(self.directory, step, items)
    args = {name: ocp.args.StandardRestore(item) for name, item in items.items()}
    try:
      restored = self._manager.restore(step, args=ocp.args.Composite(**args))
    # Orbax and TensorStore raise nearly anything on files that are not theirs.
    except Exception as error:
      # Of all the arrays that cannot be read, asyncio would report each at the end.
      logging.getLogger("asyncio").setLevel(logging.CRITICAL)
      raise ValueError(f"it cannot be read ({first_line(error)})") from error
    manifest.verify(note, {name: restored[name] for name in items})
    return restored, note

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
      reason = first_line(error)
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


class PreservationPolicy(checkpoint_managers.PreservationPolicy):
  """`Keep` as Orbax asks for it.

  Attributes:
    ranks: by step, of checkpoints that are being saved; of others `read_rank` reads it.
  """

  def __init__(self, keep: Keep, read_rank: Callable[[int], float | None]):
    self._keep, self._read_rank = keep, read_rank
    self.ranks: dict[int, float | None] = {}

  def should_preserve(self, checkpoints: Sequence, *, context) -> Sequence[bool]:
    steps = [info.step for info in checkpoints]
    for step in steps:
      if step not in self.ranks:
        self.ranks[step] = self._read_rank(step)
    kept = self._keep.kept({step: self.ranks[step] for step in steps})
    return [step in kept for step in steps]


@functools.cache
def _silence_closed_loop() -> None:
  """When a save fails, the writes under way end after Orbax has closed their event
  loop; each would print a traceback beside the one line that says what happened."""
  previous = sys.unraisablehook

  def hook(unraisable) -> None:
    if str(unraisable.exc_value) != "Event loop is closed":
      previous(unraisable)

  sys.unraisablehook = hook
