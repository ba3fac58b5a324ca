"""Reading what a checkpoint holds, without what is needed to write one.

Using a run imports neither Orbax nor optax, which would take longer than reading a
small model does. Arrays are read with TensorStore, in the format in which Orbax stores
them: Zarr in an OCDBT database, named by the keys of their paths, `encoder.layers.w`.
"""

import concurrent.futures
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
import tensorstore

from transformer import tree
from transformer.training import manifest

T = TypeVar("T")

READERS = 4
"""Arrays that are read and verified at a time."""


class CheckpointMismatch(ValueError):
  """A checkpoint that is whole, but not what is asked for: of another model, of
  parameters alone, or of parameters that are not finite; with its note."""

  def __init__(self, message: str, note: dict[str, Any]):
    super().__init__(message)
    self.note = note


class ReadParams(NamedTuple):
  """The parameters that a run is used with, of the checkpoint of a step."""

  params: Any
  note: dict[str, Any]
  step: int


def steps_in(directory: Path) -> list[int]:
  """The steps of the whole checkpoints in a directory, ascending; damaged and
  unfinished ones have other names."""
  entries = directory.iterdir() if directory.is_dir() else ()
  return sorted(
    int(entry.name)
    for entry in entries
    if entry.name.isdecimal() and (entry / "params").is_dir()
  )


def read_note(directory: Path, step: int) -> dict[str, Any]:
  """What was saved with a step.

  Raises:
    ValueError: it is damaged.
  """
  try:
    note = json.loads((directory / str(step) / "note" / "metadata").read_bytes())
  except (OSError, ValueError, RecursionError) as error:
    raise ValueError(f"its note cannot be read ({first_line(error)})") from error
  return manifest.unseal(note)


def check_shapes(directory: Path, step: int, items: dict[str, Any]) -> dict[str, Any]:
  """The note of a step whose items have the shapes of `items`.

  Raises:
    CheckpointMismatch: other arrays were saved.
    ValueError: it is damaged.
  """
  note = read_note(directory, step)
  if difference := manifest.difference(note, items):
    raise CheckpointMismatch(
      f"{directory / str(step)}: the config does not match the checkpoint: "
      f"{difference}",
      note,
    )
  return note


def read_params(directory: Path, abstract: Any, step: int | None = None) -> ReadParams:
  """The parameters that a run is used with, their note and their step. Changes nothing
  on the disk, and may be called by one process alone.

  Args:
    directory: the checkpoints of a run.
    abstract: the shape, dtype and sharding of every parameter.
    step: the checkpoint; the newest that can be read if None.

  Raises:
    FileNotFoundError: there is no such checkpoint.
    CheckpointMismatch: its arrays are not those of `abstract`, or are not finite.
    ValueError: it is damaged.
  """

  def read(step: int) -> ReadParams:
    note = check_shapes(directory, step, {"params": abstract})
    item = directory / str(step) / "params"
    not_finite: list[str] = []
    arrays = _read_arrays(item, abstract, note["checksums"]["params"], not_finite)
    if not_finite:
      # A model computes outputs of these too: empty texts, and NaN for probabilities.
      more = f" and {len(not_finite) - 1:,} more" if len(not_finite) > 1 else ""
      raise CheckpointMismatch(
        f"{directory / str(step)}: {min(not_finite)}{more}: not finite (NaN or "
        "infinite), so there is nothing to compute with; take another checkpoint "
        f"(there are {steps_in(directory)}), or train it again",
        note,
      )
    return ReadParams(arrays, note, step)

  return read_newest(directory, step, read, lambda step: None)


def read_newest(
  directory: Path,
  step: int | None,
  read: Callable[[int], T],
  skip: Callable[[int], None],
) -> T:
  """What `read` returns for `step`, or else for the newest step for which it raises no
  ValueError; `skip` is called with the newer ones."""
  steps = steps_in(directory)
  if not steps:
    raise FileNotFoundError(f"{directory}: no checkpoint")
  if step is not None and step not in steps:
    raise FileNotFoundError(
      f"{directory}: no checkpoint of step {step}; there are {steps}"
    )
  damaged = []
  for candidate in [step] if step is not None else steps[::-1]:
    try:
      result = read(candidate)
    except CheckpointMismatch:
      raise
    except ValueError as error:
      reason = f"{directory / str(candidate)}: damaged: {error}"
      damaged.append(candidate)
      if step is None and candidate != steps[0]:
        print(f"warning: {reason}; trying the one before", file=sys.stderr)
      continue
    for newer in damaged:
      skip(newer)
    return result
  raise ValueError(f"{reason}; no other checkpoint is left to fall back to")


def _read_arrays(
  item: Path, abstract: Any, checksums: dict[str, str], not_finite: list[str]
) -> Any:
  """The arrays of an item of a checkpoint, verified and laid out as in `abstract`; the
  paths of those with NaN or an infinite number are appended to `not_finite`.

  Raises:
    ValueError: one cannot be read, or is not what was saved.
  """
  context = tensorstore.Context()

  def read(named: tuple[str, Any]) -> jax.Array:
    path, leaf = named
    array = _read_array(item, path, context)
    manifest.verify_array(f"{item.name}/{path}", array, checksums[path])
    if not tree.is_finite(array):
      not_finite.append(path)
    array = array.astype(leaf.dtype, copy=False)
    # Every process has all of it here, and keeps what its own devices hold.
    return jax.make_array_from_callback(leaf.shape, leaf.sharding, array.__getitem__)

  named = tree.paths(abstract)
  with concurrent.futures.ThreadPoolExecutor(READERS) as pool:
    arrays = dict(zip(named, pool.map(read, named.items()), strict=True))
  return tree.from_paths(abstract, arrays)


def _read_array(item: Path, path: str, context: tensorstore.Context) -> np.ndarray:
  kvstore = {
    "driver": "ocdbt",
    "base": {"driver": "file", "path": f"{item}/"},
    "path": path.replace("/", ".") + "/",
  }
  spec = {"driver": "zarr", "kvstore": kvstore}
  try:
    store = tensorstore.open(spec, context=context, open=True, read=True).result()
    return store.read().result()
  # TensorStore raises nearly anything on files that are not its own.
  except Exception as error:
    # Of all the arrays that cannot be read, asyncio would report each at the end.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    raise ValueError(f"it cannot be read ({first_line(error)})") from error


def first_line(error: Exception) -> str:
  """The first line of an error, cut to a readable length."""
  text = str(error).strip().partition("\n")[0] or type(error).__name__
  return text if len(text) <= 160 else f"{text[:157]}..."
