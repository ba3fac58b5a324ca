"""The decoder-only model: the promises of the family for a model of one text."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from tests.models.test_family import small
from tests.models.test_transformer import V, example, tokens
from tests.oracles import transformer as oracle
from tests.oracles.attention import causal, multi_head_attention
from transformer import tree
from transformer.batch import BOS, EOS
from transformer.decoding.state import repeat
from transformer.layers.embedding import Embedding
from transformer.layers.residual import PreNorm
from transformer.models.decoder_only import DecoderOnly

PLAIN = small(DecoderOnly)
MODELS = pytest.mark.parametrize(
  "model", [PLAIN, dataclasses.replace(PLAIN, residual=PreNorm())], ids=["post", "pre"]
)


@functools.cache
def variables(model):
  init = jax.jit(model.module(V).init)
  params = nn.unbox(init(jax.random.key(0), tokens([[[4, 5, EOS]]])))
  return jax.tree.map(
    lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(leaf.size), leaf.shape),
    params,
  )


def logits(model, batch):
  return np.asarray(jax.jit(model.module(V).apply)(variables(model), batch))


def test_the_whole_model_is_the_oracles_encoder_with_a_causal_mask():
  ids = example(np.random.default_rng(0), 6)
  params = jax.tree.map(
    lambda leaf: np.asarray(leaf, np.float64), variables(PLAIN)["params"]
  )
  table = params["embedding"]["table"]
  x = oracle.embed(table, [BOS, *ids[:-1]])
  for l in range(PLAIN.layers):
    layer = jax.tree.map(lambda leaf, l=l: leaf[l], params["layers"])
    attention = {**layer["self_key_value"], **layer["self_attention"]}
    found = multi_head_attention(x, x, attention, causal(len(ids)))
    x = oracle.add_and_norm(x, found, layer["self_sublayer"], oracle.EPSILON)
    feed = layer["feed_forward"]
    feed = {**feed, "b1": feed["w1_bias"], "b2": feed["w2_bias"]}
    found = oracle.feed_forward(x, feed)
    x = oracle.add_and_norm(x, found, layer["feed_forward_sublayer"], oracle.EPSILON)
  found = logits(PLAIN, tokens([[ids]]))[0]
  np.testing.assert_allclose(found, x @ table.T, atol=2e-5)


@MODELS
def test_shape_and_finite_gradient(model):
  rng = np.random.default_rng(1)
  batch = tokens([[example(rng, 7)], [example(rng, 3)]])
  model = dataclasses.replace(model, dropout=0.2)

  def loss(params):
    rngs = {"dropout": jax.random.key(3)}
    y = model.module(V).apply(params, batch, train=True, rngs=rngs)
    assert y.shape == (2, 7, V) and y.dtype == jnp.float32
    return jnp.sum(jnp.square(jax.nn.log_softmax(y)))

  gradient = jax.jit(jax.grad(loss))(variables(model))
  for path, leaf in tree.paths(gradient).items():
    assert np.all(np.isfinite(leaf)) and np.any(leaf != 0), path


@MODELS
def test_a_future_token_changes_no_earlier_output_exactly(model):
  t, batch = 5, tokens([[example(np.random.default_rng(2), 5)]])
  module, params = model.module(V), variables(model)

  def run(nudge_btd):
    def add(call, args, kwargs, context):
      y = call(*args, **kwargs)
      embeds = isinstance(context.module, Embedding)
      return y + nudge_btd if embeds and context.method_name == "__call__" else y

    with nn.intercept_methods(add):
      return module.apply(params, batch)[0]

  reach = np.abs(jax.jacrev(run)(jnp.zeros((1, t, 16)))[:, :, 0]).max(axis=(1, 3))
  assert np.all(reach[~np.tri(t, dtype=bool)] == 0.0)
  assert np.all(reach[np.tri(t, dtype=bool)] > 0.0)


@MODELS
def test_padding_packing_and_company_change_nothing(model):
  rng = np.random.default_rng(3)
  one, other, third = (example(rng, n) for n in (6, 4, 3))
  alone = logits(model, tokens([[one]]))[0]
  for found in (
    logits(model, tokens([[one]], 9))[0, :6],
    logits(model, tokens([[other], [one]]))[1],
    logits(model, tokens([[other, one, third]], 15))[0, 4:10],
  ):
    np.testing.assert_allclose(found, alone, atol=1e-5)


@MODELS
def test_cached_steps_are_the_full_pass_and_hypotheses_are_apart(model):
  rng = np.random.default_rng(4)
  rows = [[example(rng, 6) for _ in range(3)] for _ in range(2)]  # b=2, w=3
  module = model.module(V)
  params = module.unstack(variables(model)["params"])
  state = module.start(params, 2, capacity=9)
  state = state._replace(cache=repeat(state.cache, 3))
  step, token = jax.jit(module.step), np.full((2, 3), BOS, np.int32)
  full = logits(model, tokens([[ids] for texts in rows for ids in texts]))
  for t in range(6):
    found, state = step(params, token, state)
    np.testing.assert_allclose(found, full[:, t].reshape(2, 3, V), rtol=1e-5, atol=1e-5)
    token = np.array([[ids[t] for ids in texts] for texts in rows], np.int32)


def test_unroll_is_neutral():
  batch = tokens([[example(np.random.default_rng(5), 7)]])
  unrolled = dataclasses.replace(PLAIN, unroll=2).module(V)
  found = unrolled.apply(variables(PLAIN), batch)
  np.testing.assert_allclose(found, logits(PLAIN, batch), atol=1e-6)
