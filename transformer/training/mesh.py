"""One mesh with named axes, and rules that lay arrays out on it."""

import dataclasses
import math

import jax
import numpy as np
from flax import linen as nn
from jax.sharding import AxisType, NamedSharding, PartitionSpec

AXES = ("data", "fsdp", "tensor", "sequence")

Rules = tuple[tuple[str, str | None], ...]

BATCH = ("data", "fsdp")
"""Mesh axes over which the rows of a batch are split."""

RULES: Rules = (
  ("h", "tensor"),
  ("f", "tensor"),
  ("v", "tensor"),
  ("d", "fsdp"),
)
"""Which letter of a weight is split over which mesh axis. Axes of size one split
nothing, so one set of rules serves every mesh: heads, feed-forward channels and the
vocabulary over `tensor` (Shoeybi et al. 2019), the model width over `fsdp` (Rajbhandari
et al. 2020)."""


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


def own_rows(sharding: NamedSharding, rows: int) -> np.ndarray:
  """Which of a batch's rows this process' devices hold, `[rows]` of bool.

  Raises:
    ValueError: the rows do not divide by the batch axes of the mesh.
  """
  ways = math.prod(sharding.mesh.shape[axis] for axis in BATCH)
  if rows % ways:
    raise ValueError(
      f"mesh: a batch of {rows} rows does not divide over {ways} devices "
      f"(data x fsdp); choose batching sizes whose rows are multiples of {ways}"
    )
  own = np.zeros(rows, bool)
  for index in sharding.addressable_devices_indices_map((rows,)).values():
    own[index] = True
  return own


def put(batch, sharding: NamedSharding):
  """Host arrays to global device arrays; of the rows that `own_rows` does not name,
  nothing is read."""

  def place(array):
    return jax.make_array_from_callback(array.shape, sharding, lambda at: array[at])

  return jax.tree.map(place, batch)
