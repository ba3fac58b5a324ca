"""The manifest of a checkpoint: the shapes and checksums of all that was saved.

It is a part of the checkpoint's note, which is JSON and has a digest of its own.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from transformer import tree
from transformer.hashing import checksum, checksums

Shapes = dict[str, list[int]]


def make(items: Mapping[str, Any]) -> dict[str, dict]:
  """The manifest of the items of a checkpoint, which are pytrees of arrays."""
  return {
    "shapes": {name: _shapes(item) for name, item in items.items()},
    "checksums": {name: checksums(tree.paths(item)) for name, item in items.items()},
  }


def difference(note: Mapping[str, Any], items: Mapping[str, Any]) -> str:
  """The first arrays that were saved in another shape than that in `items`, or that are
  in one of both alone; empty if there are none."""
  for name, item in items.items():
    found = _difference(note["shapes"].get(name, {}), _shapes(item))
    if found:
      return found
  return ""


def verify(note: Mapping[str, Any], items: Mapping[str, Any]) -> None:
  """Raises ValueError where an array is not what was saved."""
  for name, item in items.items():
    saved = note["checksums"][name]
    for path, found in checksums(tree.paths(item)).items():
      if saved[path] != found:
        raise ValueError(f"{name}/{path} is not what was saved (its checksum differs)")


def verify_array(name: str, array: np.ndarray, expected: str) -> None:
  """Raises ValueError where an array on the host is not what was saved."""
  if checksum(array) != expected:
    raise ValueError(f"{name} is not what was saved (its checksum differs)")


def seal(note: Mapping[str, Any]) -> dict[str, Any]:
  """A note with its digest."""
  return {**note, "sha256": _digest(note)}


def unseal(sealed: Any) -> dict[str, Any]:
  """A note without its digest.

  Raises:
    ValueError: it is not what was sealed.
  """
  note = dict(sealed) if isinstance(sealed, dict) else {}
  if note.pop("sha256", None) != _digest(note):
    raise ValueError("its note is not what was saved")
  return note


def _digest(note: Mapping[str, Any]) -> str:
  return hashlib.sha256(json.dumps(note, sort_keys=True).encode()).hexdigest()


def _shapes(item: Any) -> Shapes:
  return {path: list(leaf.shape) for path, leaf in tree.paths(item).items()}


def _difference(saved: Shapes, expected: Shapes, most: int = 3) -> str:
  paths = [
    path
    for path in sorted({*saved, *expected})
    if saved.get(path) != expected.get(path)
  ]

  def shape(shapes: Shapes, path: str) -> str:
    return str(tuple(shapes[path])) if path in shapes else "none"

  parts = [
    f"{path} is {shape(saved, path)} in the checkpoint, {shape(expected, path)} by the "
    "config"
    for path in paths[:most]
  ]
  if len(paths) > most:
    parts.append(f"and {len(paths) - most:,} more")
  return "; ".join(parts)
