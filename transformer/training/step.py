"""One update."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from transformer.axes import constrain_sharding
from transformer.training.losses import Mean
from transformer.training.mesh import RULES
from transformer.training.state import TrainState
from transformer.tree import merge


class StepMetrics(NamedTuple):
  """Metrics of one update."""

  loss: Mean
  gradient_norm: jax.Array
  skipped: jax.Array  # so far
  consecutive_skips: jax.Array  # in a row, this one included; 0 if it was an update


def train_step(
  loss: Callable,
  optimizer: optax.GradientTransformation,
  state: TrainState,
  batch,
  seed_key,
  ema: float = 0.0,
  accumulate: int = 1,
) -> tuple[TrainState, StepMetrics]:
  """Differentiates a loss and applies the optimizer.

  Where the loss or the gradient is not finite, parameters and optimizer stay as they
  were: the batch is skipped, and counted.

  Args:
    loss: `loss(weights, batch, key) -> Mean, batch_stats`, with the state's weights and
      its next running averages; the gradient is that of total / count.
    optimizer: the update rule.
    state: before the update.
    batch: one global batch.
    seed_key: the run's key; the step's own follows from it and `state.step`, so a
      resumed run draws what the first would have drawn.
    ema: decay of the moving average of the parameters; the first steps, n of them,
      use at most (1 + n) / (10 + n), so that the average soon leaves the start.
    accumulate: how many parts of the batch go through the model one after another.
      Losses, token counts and gradients are summed over them and divided once, so it
      is the update of the whole batch, up to rounding, in the memory of one part.
      Dropout draws other numbers for each part than for the whole, of the same
      distribution.

  Raises:
    ValueError: the rows of the batch do not divide by `accumulate`.
  """
  key = jax.random.fold_in(seed_key, state.step)

  def total(params, batch_stats, part, key):
    part = jax.tree.map(lambda leaf: constrain_sharding("bt"[: leaf.ndim], leaf), part)
    sums, batch_stats = loss(merge(params, batch_stats), part, key)
    return sums.total, (sums, batch_stats)

  with nn.logical_axis_rules(RULES):
    differentiate = jax.grad(total, has_aux=True)
    if accumulate == 1:
      gradient, (sums, batch_stats) = differentiate(
        state.params, state.batch_stats, batch, key
      )
    else:

      def add(sofar, part):
        batch_stats, *before = sofar
        number, rows = part
        gradient, (sums, batch_stats) = differentiate(
          state.params, batch_stats, rows, jax.random.fold_in(key, number)
        )
        return (batch_stats, *jax.tree.map(jnp.add, before, [gradient, sums])), None

      zeros = jax.tree.map(jnp.zeros_like, state.params)
      nothing = state.batch_stats, zeros, Mean(jnp.zeros(()), jnp.zeros(()))
      parts = jnp.arange(accumulate), split(batch, accumulate)
      (batch_stats, gradient, sums), _ = jax.lax.scan(add, nothing, parts)
  count = jnp.maximum(sums.count, 1.0)
  gradient = jax.tree.map(lambda leaf: leaf / count, gradient)
  norm = optax.global_norm(gradient)
  good = jnp.isfinite(sums.total) & jnp.isfinite(norm)
  updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
  params = optax.apply_updates(state.params, updates)
  average = state.ema
  if ema:
    number = state.step.astype(jnp.float32)
    decay = jnp.minimum(ema, (1.0 + number) / (10.0 + number))
    average = optax.incremental_update(params, state.ema, 1.0 - decay)
  new = params, batch_stats, opt_state, average
  old = state.params, state.batch_stats, state.opt_state, state.ema
  params, batch_stats, opt_state, average = jax.tree.map(
    lambda one, other: jnp.where(good, one, other), new, old
  )
  skipped = state.skipped + jnp.where(good, 0, 1)
  consecutive_skips = jnp.where(good, 0, state.consecutive_skips + 1)
  numbers = StepMetrics(sums, norm, skipped, consecutive_skips)
  after = TrainState(
    state.step + 1, params, batch_stats, opt_state, average, skipped, consecutive_skips
  )
  return after, numbers


def step_program(
  loss: Callable,
  optimizer: optax.GradientTransformation,
  abstract: TrainState,
  ema: float = 0.0,
  accumulate: int = 1,
):
  """`train_step` of a state that lies as `abstract` says, to be compiled.

  The state is donated, and the new one lies as the old did: left to itself, the
  compiler may shard some of it differently, and the next step would recompile.
  """
  step = functools.partial(train_step, loss, optimizer, ema=ema, accumulate=accumulate)
  shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
  return jax.jit(step, donate_argnums=0, out_shardings=(shardings, None))


def split(batch, parts: int):
  """`[b, …]` as `[parts, b / parts, …]`, every part with rows from all over the batch.

  Part `i` has the rows `i, i + parts, …`: rows that lie on a device stay there.

  Raises:
    ValueError: the rows do not divide by `parts`.
  """

  def leaf(array):
    rows = array.shape[0]
    if rows % parts:
      divisors = [n for n in range(1, rows + 1) if rows % n == 0]
      raise ValueError(
        f"accumulate: {parts} parts do not divide a batch of {rows:,} rows; sizes that "
        f"would: {', '.join(map(str, divisors))}"
      )
    array = array.reshape(rows // parts, parts, *array.shape[1:])
    return jnp.moveaxis(array, 1, 0)

  return jax.tree.map(leaf, batch)
