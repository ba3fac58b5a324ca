"""The parameters of a run alone, in a safetensors file.

A tensor has the path of its parameter as its name, `encoder/layers/feed_forward/w1`;
layers are stacked along the first axis. The file's metadata says what they are of.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import safetensors
from safetensors.numpy import save

from transformer import tree
from transformer.runs.output import write_file


def write_parameters(path: Path, params: Any, metadata: Mapping[str, str]) -> None:
  """Writes a tree of parameters and texts by name that go with it.

  Raises:
    OSError: the file cannot be written.
  """
  arrays = {
    name: np.ascontiguousarray(np.asarray(leaf))
    for name, leaf in tree.paths(params).items()
  }
  write_file(path, save(arrays, metadata=dict(metadata)))


def read_parameters(path: Path, abstract: Any) -> Any:
  """The parameters in a file, NumPy arrays in a tree as `abstract`.

  Raises:
    OSError: the file cannot be read.
    ValueError: it is damaged, or its parameters are not those of `abstract`, or not
      finite.
  """
  shapes = {name: tuple(leaf.shape) for name, leaf in tree.paths(abstract).items()}
  try:
    with safetensors.safe_open(path, framework="numpy") as file:
      names = file.keys()
      found = {name: tuple(file.get_slice(name).get_shape()) for name in names}
      check_shapes(path, found, shapes)
      arrays = {name: file.get_tensor(name) for name in names}
  except FileNotFoundError:
    raise FileNotFoundError(f"{path}: no such file") from None
  except safetensors.SafetensorError as error:
    raise ValueError(f"{path}: not a safetensors file, or damaged: {error}") from None

  def leaf(place, shape) -> np.ndarray:
    name = jax.tree_util.keystr(place, simple=True, separator="/")
    array = arrays[name]
    if array.dtype != shape.dtype:
      raise ValueError(
        f"{path}: {name}: expected type {shape.dtype}, got {array.dtype}"
      )
    if not tree.is_finite(array):
      raise ValueError(f"{path}: {name}: not finite (NaN or infinite)")
    return array

  return jax.tree_util.tree_map_with_path(leaf, abstract)


def check_shapes(
  path: Path,
  found: Mapping[str, tuple[int, ...]],
  expected: Mapping[str, tuple[int, ...]],
) -> None:
  """Raises ValueError where a file has other parameters than those expected."""
  for name in sorted(found.keys() | expected.keys()):
    if name not in found:
      raise ValueError(f"{path}: no parameter {name}, which the run has")
    if name not in expected:
      raise ValueError(f"{path}: the run has no parameter {name}, which the file has")
    if found[name] != expected[name]:
      raise ValueError(
        f"{path}: {name}: expected the shape {expected[name]} as in the run, got "
        f"{found[name]}"
      )
