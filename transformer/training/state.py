"""Everything that a step changes, in one value."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct

from transformer.training.mesh import state_shardings


@struct.dataclass
class TrainState:
  """Parameters, optimizer state and the number of updates made."""

  step: jax.Array
  params: Any
  opt_state: Any


def init_state(
  module: nn.Module, batch, optimizer: optax.GradientTransformation, key
) -> Callable[[], TrainState]:
  """A function that makes the state before the first step, with boxed parameters.

  Args:
    module: the model.
    batch: one batch, or its shapes.
    optimizer: from `Optimizer.transform`.
    key: fixes the parameters.
  """
  batch = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), batch)

  def init() -> TrainState:
    params = module.init(key, batch)["params"]
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params))

  return init


def abstract_state(init: Callable, mesh: jax.sharding.Mesh) -> TrainState:
  """Shapes, dtypes and shardings of the state on a mesh; computes nothing."""
  boxed = jax.eval_shape(init)
  shardings = state_shardings(mesh, boxed)

  def leaf(shape, sharding):
    return jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=sharding)

  return jax.tree.map(leaf, nn.unbox(boxed), shardings)


def create_state(init: Callable, abstract: TrainState) -> TrainState:
  """Makes the state where it will live, shard by shard."""
  shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
  return jax.jit(lambda: nn.unbox(init()), out_shardings=shardings)()
