"""One mesh with named axes, and rules that lay arrays out on it."""

import dataclasses
import math

import jax
import numpy as np
from flax import linen as nn
from jax.sharding import AxisType, NamedSharding, PartitionSpec

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
"""Which letter of an array is split over which mesh axis; the first rule that applies
has the axis. Axes of size one split nothing, so this one table is every set of rules
and every product of them, and the mesh alone chooses: `Mesh(fsdp=4, tensor=2)`.

Rows lie over `data` and `fsdp`; tokens of a row over `sequence`, where each device asks
for its own tokens and gathers the keys and values of all (context parallelism); heads,
feed-forward channels and the vocabulary over `tensor` (Shoeybi et al. 2019); the width
of weights over `fsdp` (Rajbhandari et al. 2020), but not that of activations, whose rows
have that axis already. Optimizer state lies as its parameters do."""


@dataclasses.dataclass(frozen=True)
class Mesh:
  """Sizes of the mesh axes; one of them may be -1, which takes what is left."""

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
      divisors = [n for n in range(1, count + 1) if count % n == 0]
      raise ValueError(
        f"mesh: {self} does not fit {count} devices; the product of the sizes must "
        f"be {count}, from the divisors {divisors}"
      )
    sizes = [count // known if size == -1 else size for size in sizes]
    return jax.sharding.Mesh(
      np.asarray(devices).reshape(sizes), AXES, axis_types=(AxisType.Auto,) * len(AXES)
    )


def state_shardings(mesh: jax.sharding.Mesh, boxed, rules: Rules = RULES):
  """A sharding for every leaf of an abstract state whose weights are still boxed."""
  specs = nn.get_partition_spec(boxed)
  return nn.unbox(nn.logical_to_mesh_sharding(specs, mesh, list(rules)))


def batch_sharding(mesh: jax.sharding.Mesh) -> NamedSharding:
  """Rows over the batch axes, the rest whole."""
  return NamedSharding(mesh, PartitionSpec(BATCH))


def put(batch, sharding: NamedSharding):
  """Host arrays to global device arrays; each process gives only the rows it owns.

  Raises:
    ValueError: the rows do not divide by the batch axes of the mesh.
  """
  ways = math.prod(sharding.mesh.shape[axis] for axis in BATCH)
  rows = jax.tree.leaves(batch)[0].shape[0]
  if rows % ways:
    raise ValueError(
      f"mesh: a batch of {rows} rows does not divide over {ways} devices "
      f"(data x fsdp); choose batching sizes whose rows are multiples of {ways}"
    )

  def place(array):
    return jax.make_array_from_callback(array.shape, sharding, lambda at: array[at])

  return jax.tree.map(place, batch)
