"""Everything that a step changes, in one value."""

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
  """What training changes from step to step, and all that a checkpoint must hold."""

  step: jax.Array  # int32: batches taken, skipped ones included
  params: Any
  batch_stats: Any  # of batch norm: not differentiated; mostly empty
  opt_state: Any
  ema: Any  # moving average of the parameters; None where it is not kept
  skipped: jax.Array  # int32: steps without an update, in all
  consecutive_skips: jax.Array  # int32: of these, the newest in a row

  @classmethod
  def start(
    cls,
    params: Any,
    optimizer: optax.GradientTransformation,
    ema: bool = False,
    batch_stats: Any = None,
  ) -> "TrainState":
    """The state before the first step."""
    # Copies, because a step donates its whole state, and no buffer twice.
    average = jax.tree.map(jnp.copy, params) if ema else None
    step, skipped, consecutive_skips = (jnp.zeros((), jnp.int32) for _ in range(3))
    return cls(
      step,
      params,
      batch_stats or {},
      optimizer.init(params),
      average,
      skipped,
      consecutive_skips,
    )

  @property
  def eval_params(self) -> Any:
    """The weights that the run is evaluated and used with, as one tree: parameters, or
    their moving average where it is kept, and running averages."""
    return merge(self.params if self.ema is None else self.ema, self.batch_stats)


def init_state(
  module: nn.Module,
  batch,
  optimizer: optax.GradientTransformation,
  key,
  ema: float = 0.0,
) -> Callable[[], TrainState]:
  """A function that makes the state before the first step, with boxed parameters.

  Args:
    module: the model.
    batch: one batch, or its shapes.
    optimizer: from `Optimizer.transform`.
    key: fixes the parameters.
    ema: the decay of the parameters' moving average; 0 keeps none.
  """
  batch = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), batch)

  def init() -> TrainState:
    variables = module.init(key, batch)
    batch_stats = variables.get("batch_stats", {})
    params, batch_stats = divide(variables["params"], batch_stats)
    return TrainState.start(params, optimizer, ema > 0, batch_stats)

  return init


def abstract_weights(module: nn.Module, batch) -> Any:
  """The `axes.Weight` of every parameter, with its shape; computes nothing.

  `batch` is one batch, or its shapes.
  """
  return jax.eval_shape(module.init, jax.random.key(0), batch)["params"]


def abstract_state(init: Callable, mesh: jax.sharding.Mesh) -> TrainState:
  """Shapes, dtypes and shardings of the state on a mesh; computes nothing."""
  boxed = jax.eval_shape(init)
  shardings = state_shardings(mesh, boxed)

  def leaf(shape, sharding):
    return jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=sharding)

  return jax.tree.map(leaf, nn.unbox(boxed), shardings)


def create_state(init: Callable, abstract: TrainState) -> TrainState:
  """Makes the state on its devices, shard by shard."""
  shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
  return jax.jit(lambda: nn.unbox(init()), out_shardings=shardings)()
