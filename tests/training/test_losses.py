"""The loss over the vocabulary, in one piece and in chunks."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.test_transformer import SMALL, V, variables
from tests.training.test_step import largest_difference, ragged
from transformer import config as configs
from transformer.tasks.translation import Translation
from transformer.training.losses import ChunkedCrossEntropy, CrossEntropy

B, T, D = 3, 7, 16


@functools.cache
def arrays(v):
  rng = np.random.default_rng(1)
  x_btd = rng.normal(size=(B, T, D)).astype(np.float32)
  table_vd = rng.normal(size=(v, D)).astype(np.float32)
  return x_btd, table_vd, rng.integers(v, size=(B, T)), rng.random((B, T)) < 0.7


def gradients(cross_entropy, v):
  """Loss and gradients by the hidden states and the table, compiled."""
  x_btd, table_vd, target_bt, weight_bt = arrays(v)

  def loss(x_btd, table_vd):
    logits = functools.partial(jnp.einsum, "vd,btd->btv", table_vd)
    return cross_entropy(logits, x_btd, target_bt, weight_bt, 0.1).value

  run = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
  return run.lower(x_btd, table_vd).compile(), (x_btd, table_vd)


@pytest.mark.parametrize("tokens", [1, 6, 9, 20, 21, 1000])
def test_chunks_are_neutral(tokens):
  """For chunks of one slot of a row, of some that divide a row and of some that do
  not, of all but one, and of all."""
  run, inputs = gradients(ChunkedCrossEntropy(tokens), 11)
  whole, _ = gradients(CrossEntropy(), 11)
  assert largest_difference(run(*inputs), whole(*inputs)) < 1e-6


@pytest.mark.parametrize("tokens", [B, 2 * B])
def test_chunks_keep_the_logits_small(tokens):
  v = 2000
  temporary = [
    gradients(cross_entropy, v)[0].memory_analysis().temp_size_in_bytes
    for cross_entropy in (CrossEntropy(), ChunkedCrossEntropy(tokens))
  ]
  logits = 4 * B * T * v
  assert temporary[0] > logits
  # Of the whole batch none is left, forward or backward; two of a chunk may be.
  assert temporary[1] < 2.2 * 4 * tokens * v + 4 * v * D


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_chunks_are_neutral_in_translation(smoothing):
  batch, module = ragged(8), SMALL.module(V)

  def gradient(cross_entropy):
    task = Translation(smoothing=smoothing, cross_entropy=cross_entropy)
    key = jax.random.key(3)

    def loss(params):
      return task.loss(module, params, batch, key)[0].value

    return jax.jit(jax.value_and_grad(loss))(variables(SMALL)["params"])

  whole = gradient(CrossEntropy())
  for name, member in configs.members(CrossEntropy).items():
    recipe = (
      dataclasses.replace(member(), tokens=24)
      if name == "ChunkedCrossEntropy"
      else member()
    )
    assert largest_difference(gradient(recipe), whole) < 1e-6, name


def test_an_impossible_chunk_is_refused():
  with pytest.raises(
    ValueError, match=r"ChunkedCrossEntropy\.tokens: expected 1 or more, got 0"
  ):
    ChunkedCrossEntropy(0)
