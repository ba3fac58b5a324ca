"""Everything that a step changes, in one value."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct

from transformer.training.mesh import state_shardings
from transformer.tree import divide, merge


@struct.dataclass
class TrainState:
  """Parameters, what runs along with them without being differentiated (averages of
  batch norm; mostly nothing), optimizer state and the number of updates made."""

  step: jax.Array
  params: Any
  running: Any
  opt_state: Any

  @property
  def weights(self) -> Any:
    """Parameters and running averages as the one tree that a model is used with."""
    return merge(self.params, self.running)

  def with_weights(self, weights: Any) -> "TrainState":
    """The state with what lies in a tree like `weights` in its place."""
    params, running = divide(weights, self.running)
    return dataclasses.replace(self, params=params, running=running)


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
    made = module.init(key, batch)
    params, running = divide(made["params"], made.get("running", {}))
    return TrainState(jnp.zeros((), jnp.int32), params, running, optimizer.init(params))

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
