"""The values of an imported model's parameters, from its tensors and back."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.traverse_util import unflatten_dict

from transformer import tree
from transformer.data.id_order import IdOrder
from transformer.interop.family import Family, Origin
from transformer.interop.hf_directory import DTYPES, HFDirectory
from transformer.interop.tensor_map import Shape, TensorMap

FLOATS = ("F64", "F32", "F16", "BF16")
"""The types of tensors that become parameters; these are float32."""

TOLERANCE = 1e-5
"""By how much a stored table of positions may differ from the computed one."""


class Imported(NamedTuple):
  """Parameters, and what is not a parameter but goes back with them.

  Attributes:
    params: a tree of JAX arrays.
    constants: the values of `TensorMap.constants` that the directory has.
  """

  params: Any
  constants: dict[str, np.ndarray]


def origin_of(directory: HFDirectory) -> Origin:
  """What a directory says of its model."""
  return Origin(
    directory.config,
    directory.generation,
    directory.infos,
    directory.preprocessor,
    directory.modules,
  )


def param_shapes(model: Any, vocabulary: int) -> dict[str, Shape]:
  """The shapes of a model's parameters by path."""
  module, example = model.module(vocabulary), model.example()
  boxed = jax.eval_shape(lambda: module.init(jax.random.key(0), example))["params"]
  return {path: leaf.shape for path, leaf in tree.paths(nn.unbox(boxed)).items()}


def import_params(
  directory: HFDirectory,
  family: Family,
  model: Any,
  order: IdOrder,
  progress: Callable[[int], Any] = lambda _: None,
) -> Imported:
  """Reads every tensor of a directory once, one after the other.

  `progress` is called with the size in bytes of each tensor when it has been read.

  Raises:
    ValueError: a tensor is missing, is one too many, has another shape or type, has
      values that are not finite, or differs from what it repeats.
  """
  origin = origin_of(directory)
  tensors = family.tensor_map(origin, model, order)
  shapes = param_shapes(model, order.size)
  tensors.check_params(shapes)
  try:
    tensors.check_tensors({n: info.shape for n, info in origin.infos.items()}, shapes)
    params = {path: np.empty(shape, np.float32) for path, shape in shapes.items()}
    constants = {}
    entries = tensors.by_name
    for name, info in origin.infos.items():
      if info.dtype not in FLOATS and name in entries:
        raise ValueError(
          f"tensor {name}: expected type {', '.join(FLOATS)}, got {info.dtype}"
        )
      values = directory.read(name)
      if not tree.is_finite(values):
        raise ValueError(
          f"tensor {name} has values that are not finite (NaN or infinite): the file "
          "is damaged or its training diverged"
        )
      if name in entries:
        entries[name].write_params(values, params)
      elif name in tensors.constants:
        constants[name] = check_constant(tensors, name, values)
      elif not np.array_equal(values, directory.read(tensors.copies[name])):
        raise ValueError(
          f"tensor {name} differs from {tensors.copies[name]}, with which config.json "
          "ties it"
        )
      progress(values.nbytes)
  except ValueError as error:
    raise ValueError(f"{directory.path}: {error}") from None
  # One by one, so that no more than one of them is in memory twice.
  on_device = {
    path: jax.block_until_ready(jax.device_put(params.pop(path))) for path in shapes
  }
  return Imported(unflatten_dict(on_device, sep="/"), constants)


def check_constant(tensors: TensorMap, name: str, values: np.ndarray) -> np.ndarray:
  """The values of a tensor that can be computed.

  Raises:
    ValueError: they are others than those computed.
  """
  compute = tensors.constants[name]
  if compute is not None:
    try:
      expected = np.asarray(compute(values.shape))
      same = expected.shape == values.shape and np.allclose(
        values.astype(np.float64), expected, atol=tolerance(values.dtype)
      )
    # The shape may be one for which there are no values.
    except (ValueError, IndexError, TypeError):
      same = False
    if not same:
      raise ValueError(
        f"tensor {name}: its values are not those which the model computes"
      )
  return values


def tolerance(dtype: Any) -> float:
  """By how much values of `dtype` may differ from computed ones of at most 1."""
  if not jnp.issubdtype(dtype, jnp.floating):
    return 0.0
  return max(TOLERANCE, float(jnp.finfo(dtype).eps))


def export_tensors(
  origin: Origin,
  tensors: TensorMap,
  params: Any,
  constants: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
  """The tensors that the directory had, each with its type, of `params`: the inverse of
  `import_params`."""
  flat = {path: np.asarray(leaf) for path, leaf in tree.paths(params).items()}
  entries, found = tensors.by_name, {}
  for name, info in origin.infos.items():
    if name in constants:
      found[name] = constants[name]
      continue
    values = entries[tensors.copies.get(name, name)].tensor(flat)
    found[name] = np.ascontiguousarray(values.astype(DTYPES[info.dtype]))
  return found
