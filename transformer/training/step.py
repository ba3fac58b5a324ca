"""One update."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from transformer.training.losses import Mean
from transformer.training.state import TrainState
from transformer.tree import merge


class Numbers(NamedTuple):
  """What an update tells of itself."""

  loss: Mean
  gradient_norm: jax.Array
  tokens: jax.Array


def train_step(
  loss: Callable,
  optimizer: optax.GradientTransformation,
  state: TrainState,
  batch,
  seed_key,
) -> tuple[TrainState, Numbers]:
  """Differentiates a loss and applies the optimizer.

  Args:
    loss: `loss(weights, batch, key) -> Mean, running`, with the state's weights and
      its next running averages; the gradient is that of total / count.
    optimizer: the update rule.
    state: before the update.
    batch: one global batch.
    seed_key: the run's key; the step's own follows from it and `state.step`, so a
      resumed run draws what the first would have drawn.
  """
  key = jax.random.fold_in(seed_key, state.step)

  def mean(params):
    sums, running = loss(merge(params, state.running), batch, key)
    return sums.total / jnp.maximum(sums.count, 1.0), (sums, running)

  (_, (sums, running)), gradient = jax.value_and_grad(mean, has_aux=True)(state.params)
  updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
  params = optax.apply_updates(state.params, updates)
  numbers = Numbers(sums, optax.global_norm(gradient), sums.count)
  return TrainState(state.step + 1, params, running, opt_state), numbers
