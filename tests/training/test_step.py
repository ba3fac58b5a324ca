"""One update: accumulating over parts of a batch is the update of the whole batch."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.test_transformer import SMALL, V, example, tokens, variables
from transformer import tree
from transformer.batch import Pairs
from transformer.tasks.translation import Translation
from transformer.training.losses import Mean
from transformer.training.optimizers import SGD
from transformer.training.state import TrainState
from transformer.training.step import split, train_step

RULE = SGD().transform(lambda count: 1.0)


def ragged(rows):
  """Rows of between one and four examples, with padding to the right."""
  rng = np.random.default_rng(0)

  def row():
    return [example(rng, n) for n in rng.integers(2, 5, rng.integers(1, 5))]

  sides = [(row(), row()) for _ in range(rows)]
  # As many targets as sources in every row.
  sides = [(s[: len(t)], t[: len(s)]) for s, t in sides]
  return Pairs(tokens([s for s, _ in sides], 17), tokens([t for _, t in sides], 16))


def start(params, number=0):
  """The state before an update of a model with these parameters."""
  return TrainState.start(params, RULE).replace(step=jnp.int32(number))


def step(model, batch, parts):
  """Gradients (by one step of SGD at rate one) and numbers of an update."""
  loss = functools.partial(Translation().loss, model.module(V))
  params = variables(SMALL)["params"]
  state = start(params, 3)
  run = jax.jit(functools.partial(train_step, loss, RULE, accumulate=parts))
  new, numbers = run(state, batch, jax.random.key(5))
  return jax.tree.map(jnp.subtract, params, new.params), numbers


def largest_difference(one, other):
  differences = jax.tree.map(lambda a, b: np.abs(a - b).max(), one, other)
  return max(jax.tree.leaves(differences))


def test_four_times_eight_is_thirty_two_on_ragged_batches():
  batch = ragged(32)
  counts = [int((rows != 0).sum()) for rows in split(batch, 4).target.seg_bt]
  assert len(set(counts)) > 2, "the parts must weigh differently"
  whole, numbers = step(SMALL, batch, 1)
  parts, found = step(SMALL, batch, 4)
  assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(whole)) > 0.01
  assert largest_difference(whole, parts) < 1e-6
  assert float(found.loss.count) == float(numbers.loss.count) == sum(counts)
  np.testing.assert_allclose(found.loss.value, numbers.loss.value, rtol=1e-6)
  np.testing.assert_allclose(found.gradient_norm, numbers.gradient_norm, rtol=1e-6)


def test_with_dropout_it_is_the_sum_over_parts_with_keys_of_their_own():
  model = dataclasses.replace(SMALL, dropout=0.2)
  batch = ragged(12)
  found, _ = step(model, batch, 3)
  loss = functools.partial(Translation().loss, model.module(V))
  key = jax.random.fold_in(jax.random.key(5), 3)

  def total(params):
    sums = Mean(jnp.zeros(()), jnp.zeros(()))
    for number in range(3):
      rows = jax.tree.map(lambda leaf, n=number: leaf[n::3], batch)
      sums = sums + loss(params, rows, jax.random.fold_in(key, number))[0]
    return sums.value

  expected = jax.jit(jax.grad(total))(variables(SMALL)["params"])
  assert largest_difference(expected, found) < 1e-6
  whole, _ = step(model, batch, 1)
  assert largest_difference(whole, found) > 1e-4, "other draws than the whole batch's"


def test_accumulation_lowers_the_peak_of_memory():
  batch = ragged(32)
  loss = functools.partial(Translation().loss, SMALL.module(V))
  params = variables(SMALL)["params"]
  state = start(params)

  def peak(parts):
    run = jax.jit(functools.partial(train_step, loss, RULE, accumulate=parts))
    compiled = run.lower(state, batch, jax.random.key(5)).compile()
    return compiled.memory_analysis().temp_size_in_bytes

  size = 4 * tree.size(params)  # the gradients, which accumulation keeps whole
  assert peak(4) - 2 * size < 0.5 * (peak(1) - size)


def test_rows_that_do_not_divide_are_refused_with_sizes_that_would():
  with pytest.raises(
    ValueError, match=r"accumulate: 5 .* 12 rows; .*1, 2, 3, 4, 6, 12"
  ):
    step(SMALL, ragged(12), 5)


def test_a_moving_average_follows_the_parameters_and_leaves_them_alone():
  """Operation by operation, so that no compiler rounds the two otherwise."""

  def loss(params, x_b, key):
    return Mean(jnp.sum((params["w"] * x_b - 3.0) ** 2), jnp.float32(2.0)), {}

  rule = SGD().transform(lambda count: 0.07)
  params, x_b = {"w": jnp.float32(0.3)}, jnp.array([0.7, 1.9])
  raw, averaged = (TrainState.start(params, rule, ema) for ema in (False, True))
  expected = 0.3
  for n in range(4):
    raw, one = train_step(loss, rule, raw, x_b, jax.random.key(5))
    averaged, other = train_step(loss, rule, averaged, x_b, jax.random.key(5), ema=0.15)
    assert averaged.params == raw.params and one.loss == other.loss
    decay = min(0.15, (1 + n) / (10 + n))
    expected = decay * expected + (1 - decay) * float(raw.params["w"])
    assert averaged.ema["w"] == pytest.approx(expected, rel=1e-6)
    assert abs(expected - float(raw.params["w"])) > 1e-3
