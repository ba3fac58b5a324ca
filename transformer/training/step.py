"""One update."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from transformer.training.losses import Mean
from transformer.training.state import TrainState


class Numbers(NamedTuple):
  """What an update tells of itself."""

  loss: Mean
  gradient_norm: jax.Array
  skipped: jax.Array  # so far
  running: jax.Array  # in a row, this one included; 0 if it was an update


def train_step(
  loss: Callable,
  optimizer: optax.GradientTransformation,
  state: TrainState,
  batch,
  seed_key,
  ema: float = 0.0,
) -> tuple[TrainState, Numbers]:
  """Differentiates a loss and applies the optimizer.

  Where the loss or the gradient is not finite, parameters and optimizer stay as they
  were: the batch is skipped, and counted.

  Args:
    loss: `loss(params, batch, key) -> Mean`; its gradient is that of total / count.
    optimizer: the update rule.
    state: before the update.
    batch: one global batch.
    seed_key: the run's key; the step's own follows from it and `state.step`, so a
      resumed run draws what the first would have drawn.
    ema: decay of the moving average of the parameters; the first steps, n of them,
      use at most (1 + n) / (10 + n), so that the average soon leaves the start.
  """
  key = jax.random.fold_in(seed_key, state.step)

  def mean(params):
    sums = loss(params, batch, key)
    return sums.total / jnp.maximum(sums.count, 1.0), sums

  (_, sums), gradient = jax.value_and_grad(mean, has_aux=True)(state.params)
  norm = optax.global_norm(gradient)
  good = jnp.isfinite(sums.total) & jnp.isfinite(norm)
  updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
  params = optax.apply_updates(state.params, updates)
  average = state.ema
  if ema:
    number = state.step.astype(jnp.float32)
    decay = jnp.minimum(ema, (1.0 + number) / (10.0 + number))
    average = optax.incremental_update(params, state.ema, 1.0 - decay)
  new, old = (params, opt_state, average), (state.params, state.opt_state, state.ema)
  params, opt_state, average = jax.tree.map(
    lambda one, other: jnp.where(good, one, other), new, old
  )
  skipped = state.skipped + jnp.where(good, 0, 1)
  running = jnp.where(good, 0, state.running + 1)
  numbers = Numbers(sums, norm, skipped, running)
  after = TrainState(state.step + 1, params, opt_state, average, skipped, running)
  return after, numbers
