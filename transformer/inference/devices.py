"""The devices that share the rows of a batch."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from jax.experimental import multihost_utils
from jax.sharding import PartitionSpec, SingleDeviceSharding

from transformer.training.mesh import (
  BATCH,
  Mesh,
  batch_sharding,
  put,
  state_shardings,
)


@dataclasses.dataclass(frozen=True)
class Devices:
  """The devices that compute a batch, each its share of the rows.

  A batch has `count` times the declared number of rows, so each device runs the program
  that one device alone would run.

  Attributes:
    mesh: how they are arranged; the process' first device alone if None. Rows are split
      over its axes `data` and `fsdp`, and parameters as in training (`mesh.RULES`).
  """

  mesh: jax.sharding.Mesh | None = None

  @classmethod
  def local(cls, mesh: Mesh = Mesh()) -> "Devices":
    """All devices of this process.

    Raises:
      ValueError: the mesh does not fit their number, or splits tokens (`sequence`).
    """
    if mesh.sequence != 1:
      raise ValueError(
        f"mesh: {mesh}: sequence splits the tokens of a row in training alone; "
        "give data, fsdp or tensor"
      )
    devices = jax.local_devices()
    built = mesh.build(devices)
    return cls(built) if len(devices) > 1 else cls()

  @property
  def count(self) -> int:
    """How many shares the rows are split into."""
    if self.mesh is None:
      return 1
    return math.prod(self.mesh.shape[axis] for axis in BATCH)

  def put(self, batch: Any) -> Any:
    """Host arrays as arrays whose rows, a multiple of `count`, are split over the
    devices; numbers stay."""
    if self.mesh is None:
      return batch
    sharding = batch_sharding(self.mesh)
    return jax.tree.map(
      lambda leaf: put(np.asarray(leaf), sharding) if np.ndim(leaf) else leaf, batch
    )

  def fetch(self, outputs: Any) -> Any:
    """Arrays of all rows on the host, in every process."""
    if jax.process_count() > 1 and self.mesh is not None:
      return multihost_utils.process_allgather(outputs, tiled=True)
    return jax.tree.map(np.asarray, outputs)

  def shardings(self, boxed: Any) -> Any:
    """Where each parameter is, for parameters in boxes with the letters of their axes.

    Raises:
      ValueError: a size does not divide over the mesh.
    """
    if self.mesh is not None:
      return state_shardings(self.mesh, boxed)
    alone = SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(lambda _: alone, nn.unbox(boxed))

  def split_rows(self, function: Callable) -> Callable:
    """`function(shared, rows)`, computed by each device on its share of `rows`.

    Inside, the leaves of `rows` have a device's rows only, and so has the result; the
    devices do not wait for each other within it, for a search whose sentences end at
    different steps. Where the mesh splits more than rows, they have to wait: XLA then
    splits the rows of the one program, whose loops end everywhere at once.
    """
    if self.mesh is None or self.mesh.size > self.count:
      return function
    return jax.shard_map(
      function,
      mesh=self.mesh,
      in_specs=(PartitionSpec(), PartitionSpec(BATCH)),
      out_specs=PartitionSpec(BATCH),
      axis_names=frozenset(BATCH),
      check_vma=False,
    )
