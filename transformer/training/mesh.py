"""One mesh with named axes, and rules by which arrays are sharded over it."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import jax
import numpy as np
from flax import linen as nn
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from transformer.config import differences

AXES = ("data", "fsdp", "tensor", "sequence")

Rules = tuple[tuple[str, str | tuple[str, ...] | None], ...]

BATCH = ("data", "fsdp")
"""Mesh axes over which the rows of a batch are split."""

RULES: Rules = (
  ("b", BATCH),
  ("t", "sequence"),
  ("h", "tensor"),
  ("f", "tensor"),
  ("v", "tensor"),
  ("d", "fsdp"),
)
"""Which letter of an array is sharded over which mesh axis; the first rule that applies
gets the axis. Axes of size one split nothing, so this one table is every set of rules
and every product of them, and the mesh alone chooses: `Mesh(fsdp=4, tensor=2)`.

Rows are sharded over `data` and `fsdp`; tokens of a row over `sequence`, where each
device has the queries of its own tokens and gathers the keys and values of all (context
parallelism); heads, feed-forward channels and the vocabulary over `tensor` (Shoeybi et
al. 2019); the width of weights over `fsdp` (Rajbhandari et al. 2020), but not that of
activations, whose rows have that axis already. Optimizer state is sharded as its
parameters are."""


NAMES = {"h": "heads", "f": "d_ff", "v": "the vocabulary", "d": "d_model"}
"""The names of weights' axes in messages."""


@dataclasses.dataclass(frozen=True)
class Mesh:
  """Sizes of the mesh axes; one of them may be -1, which takes what is left.

  Attributes:
    data: devices over which the rows of a batch are sharded.
    fsdp: devices over which rows, and parameters, gradients and optimizer state, are
      sharded.
    tensor: devices over which heads, feed-forward channels and the vocabulary are
      sharded.
    sequence: devices over which the tokens of a row are sharded.
  """

  data: int = -1
  fsdp: int = 1
  tensor: int = 1
  sequence: int = 1

  def build(self, devices=None) -> jax.sharding.Mesh:
    """The device mesh.

    Raises:
      ValueError: the sizes do not fit the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    sizes = [getattr(self, axis) for axis in AXES]
    known = math.prod(size for size in sizes if size != -1)
    count = len(devices)
    if sizes.count(-1) > 1 or any(size < 1 and size != -1 for size in sizes):
      raise ValueError(
        f"mesh: {self}: sizes are 1 or more, and at most one of them is -1"
      )
    fits = count % known == 0 if -1 in sizes else known == count
    if not fits:
      raise ValueError(
        f"mesh: {self} does not fit {count} devices; the product of the sizes must "
        f"be {count}, from the divisors {listed(divisors(count))}"
      )
    sizes = [count // known if size == -1 else size for size in sizes]
    return jax.sharding.Mesh(
      np.asarray(devices).reshape(sizes), AXES, axis_types=(AxisType.Auto,) * len(AXES)
    )


def state_shardings(mesh: jax.sharding.Mesh, boxed, rules: Rules = RULES):
  """A sharding for every leaf of an abstract state whose weights are still boxed.

  Raises:
    ValueError: a size does not divide over its mesh axes.
  """
  specs = nn.get_partition_spec(boxed)
  check_weights(mesh.shape, boxed, rules)
  return nn.unbox(nn.logical_to_mesh_sharding(specs, mesh, list(rules)))


def check_weights(sizes: Mapping[str, int], boxed, rules: Rules = RULES) -> None:
  """Raises ValueError where a weight's axis does not divide over its mesh axes by the
  rules; `sizes` are those of the mesh."""
  weights = jax.tree.leaves(
    boxed, is_leaf=lambda leaf: isinstance(leaf, nn.Partitioned)
  )
  for leaf in weights:
    if not isinstance(leaf, nn.Partitioned):
      continue
    spec = nn.logical_to_mesh_axes(leaf.names, rules) or ()
    for letter, size, axes in zip(leaf.names, leaf.value.shape, spec, strict=True):
      axes = (axes,) if isinstance(axes, str) else axes or ()
      shards = math.prod(sizes[axis] for axis in axes)
      if size % shards:
        what = NAMES.get(str(letter), f"the axis {letter}")
        over = " x ".join(f"{axis}={sizes[axis]}" for axis in axes)
        below = size // shards * shards
        near = [n for n in (below, below + shards) if n]
        raise ValueError(
          f"mesh: {what} {size:,} does not divide over {over}; it divides over "
          f"{listed(divisors(size))} devices, or choose "
          f"{' or '.join(f'{n:,}' for n in near)}"
        )


class Batches(Protocol):
  """What is asked of a recipe for batches."""

  @property
  def shapes(self) -> Sequence[tuple[int, ...]]:
    """`(rows, slots, …)` of every batch that there may be."""

  def divisible(self, parts: int) -> Any:
    """The nearest recipe of which the rows of every shape divide into `parts`."""


def check_batches(
  sizes: Mapping[str, int], batching: Batches, accumulate: int = 1
) -> None:
  """Raises ValueError where batches do not divide over a mesh of `sizes` in
  `accumulate` parts.

  The global batch is fixed by the config, in tokens, so that a result never depends on
  the number of devices; it is refused rather than changed.
  """
  shards = math.prod(sizes[axis] for axis in BATCH)
  shapes = batching.shapes
  for rows, *slots in shapes:
    if rows % (shards * accumulate):
      changes = differences(batching, batching.divisible(shards * accumulate))
      settings = " ".join(f"--config.batching.{name}={new}" for name, _, new in changes)
      parts = f" in {accumulate} parts" if accumulate > 1 else ""
      raise ValueError(
        f"--config.mesh: {rows:,} rows padded to {max(slots, default=1)} tokens do not "
        f"divide over {shards} devices (data x fsdp){parts}: use {settings}, or "
        f"data x fsdp from {listed(common_divisors(shapes, accumulate))}"
      )
    for size in slots:
      if size % sizes["sequence"]:
        every_slot = math.gcd(*(n for shape in shapes for n in shape[1:]))
        raise ValueError(
          f"--config.mesh.sequence: rows of {size} tokens do not divide over "
          f"{sizes['sequence']} devices; choose from {listed(divisors(every_slot))}, "
          "or other lengths in --config.batching"
        )


def common_divisors(shapes: Sequence[tuple[int, ...]], accumulate: int) -> list[int]:
  """The numbers of devices over which the rows of all shapes divide, in so many parts;
  empty where the parts alone do not divide them."""
  rows = math.gcd(*(shape[0] for shape in shapes))
  return [] if rows % accumulate else divisors(rows // accumulate)


def divisors(number: int) -> list[int]:
  """The divisors of a number, ascending."""
  return [n for n in range(1, number + 1) if number % n == 0]


def listed(numbers: Sequence[int]) -> str:
  """Numbers for the reader; of many, the middle is left out."""
  if not numbers:
    return "none"
  if len(numbers) > 12:
    return f"{listed(numbers[:8])}, … {numbers[-1]}"
  return ", ".join(map(str, numbers))


def batch_sharding(mesh: jax.sharding.Mesh) -> NamedSharding:
  """Rows over the batch axes, the rest whole."""
  return NamedSharding(mesh, PartitionSpec(BATCH))


def own_rows(sharding: NamedSharding, rows: int) -> np.ndarray:
  """Which rows of a batch this process' devices hold, `[rows]` of bool."""
  own = np.zeros(rows, bool)
  for index in sharding.addressable_devices_indices_map((rows,)).values():
    own[index] = True
  return own


def put(batch, sharding: NamedSharding):
  """Host arrays to global device arrays; rows that are not this process' own
  (`own_rows`) are not read."""

  def leaf(array):
    return jax.make_array_from_callback(array.shape, sharding, lambda at: array[at])

  return jax.tree.map(leaf, batch)


def bytes_per_device(tree) -> int:
  """Bytes that one device holds of a tree of sharded arrays or of their shapes."""
  return sum(
    math.prod(leaf.sharding.shard_shape(leaf.shape)) * np.dtype(leaf.dtype).itemsize
    for leaf in jax.tree.leaves(tree)
  )
