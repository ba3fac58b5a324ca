"""Transformer-XL: segment by segment is one pass over the concatenation within its
memory, and what every model of one text promises."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from tests.models.test_family import small
from tests.models.test_transformer import V, example, tokens
from transformer import tree
from transformer.batch import BOS, TextWithContext
from transformer.layers import attention
from transformer.layers.positions import Alibi, Rope, TransformerXLPosition
from transformer.layers.residual import PreNorm
from transformer.models.decoder_only import DecoderOnly
from transformer.models.transformer_xl import TransformerXL

PLAIN = small(TransformerXL)
MODELS = pytest.mark.parametrize(
  "model",
  [
    PLAIN,
    dataclasses.replace(PLAIN, residual=PreNorm()),
    dataclasses.replace(PLAIN, position=Alibi()),
    dataclasses.replace(PLAIN, position=Rope()),
  ],
  ids=["post", "pre", "alibi", "rope"],
)


@functools.cache
def variables(model):
  batch = TextWithContext(tokens([[[4, 5, 6]]]), tokens([[[7, 8]]]))
  params = nn.unbox(jax.jit(model.module(V).init)(jax.random.key(0), batch))
  return jax.tree.map(
    lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(leaf.size), leaf.shape),
    params,
  )


def logits(model, before, text):
  apply = jax.jit(model.module(V).apply)
  return np.asarray(apply(variables(model), TextWithContext(before, text)))


def by_segments(model, ids, length, size):
  """The logits after each token of `[BOS, *ids[:-1]]`, read segment by segment with a
  memory of `size` tokens."""
  module, params = model.module(V), variables(model)
  memory = module.apply(params, 1, size, method="nothing")
  stream, found = [BOS, *ids[:-1]], []
  for start in range(0, len(stream), length):
    part = tokens([[stream[start : start + length]]])
    x_btd, new = module.apply(params, part, memory, method="read")
    found.append(module.apply(params, x_btd, method="logits")[0])
    memory = memory.then(new, size)
    assert memory.seg_bm.shape == (1, size)
  return np.concatenate(found)


def one_pass(model, ids):
  """The same by the decoder without segments, whose parameters are the same."""
  whole = DecoderOnly(
    **{f.name: getattr(model, f.name) for f in dataclasses.fields(model)}
  )
  return np.asarray(whole.module(V).apply(variables(model), tokens([[ids]]))[0])


@MODELS
@pytest.mark.parametrize("length", [4, 7])
def test_segment_by_segment_is_one_pass_where_all_is_remembered(model, length):
  ids = example(np.random.default_rng(0), 18)
  found = by_segments(model, ids, length, 18)
  np.testing.assert_allclose(found, one_pass(model, ids), atol=2e-5)


@MODELS
@pytest.mark.parametrize("size", [0, 3, 8])
def test_within_a_shorter_memory_it_is_one_pass_that_sees_no_farther(
  model, size, monkeypatch
):
  length, ids = 5, example(np.random.default_rng(1), 18)
  full = attention.causal

  def within(q_pos_bt, k_pos_bs):
    oldest_bt = q_pos_bt // length * length - size
    return full(q_pos_bt, k_pos_bs) & (k_pos_bs[:, None] >= oldest_bt[:, :, None])

  far = one_pass(model, ids)
  monkeypatch.setattr(attention, "causal", within)
  found = by_segments(model, ids, length, size)
  np.testing.assert_allclose(found, one_pass(model, ids), atol=2e-5)
  assert np.abs(found - far).max() > 1e-3


@MODELS
def test_shape_and_finite_gradient(model):
  rng = np.random.default_rng(2)
  before = tokens([[example(rng, 4)], [example(rng, 6)]])
  text = tokens([[example(rng, 7)], [example(rng, 3)]])
  model = dataclasses.replace(model, dropout=0.2)

  def loss(params):
    rngs = {"dropout": jax.random.key(3)}
    batch = TextWithContext(before, text)
    y = model.module(V).apply(params, batch, train=True, rngs=rngs)
    assert y.shape == (2, 7, V) and y.dtype == jnp.float32
    return jnp.sum(jnp.square(jax.nn.log_softmax(y)))

  gradient = jax.jit(jax.grad(loss))(variables(model))
  for path, leaf in tree.paths(gradient).items():
    assert np.all(np.isfinite(leaf)) and np.any(leaf != 0), path


@MODELS
def test_what_is_remembered_is_read_and_gets_no_gradient(model):
  rng = np.random.default_rng(3)
  before, text = tokens([[example(rng, 5)]]), tokens([[example(rng, 4)]])
  module, params = model.module(V), variables(model)
  nothing = module.apply(params, 1, method="nothing")
  _, memory = module.apply(params, before, nothing, method="read")

  def total(x_lbmd):
    known = memory._replace(x_lbmd=x_lbmd)
    x_btd, _ = module.apply(params, text, known, method="read")
    return jnp.sum(jnp.square(module.apply(params, x_btd, method="logits")))

  value, gradient = jax.value_and_grad(total)(memory.x_lbmd)
  assert abs(total(memory.x_lbmd + 0.1) - value) > 1e-3
  np.testing.assert_array_equal(gradient, 0.0)
  other = tokens([[[*before.id_bt[0][:-1], 4 + (before.id_bt[0][-1] - 3) % (V - 4)]]])
  found, now = logits(model, before, text), logits(model, other, text)
  assert np.all(np.abs(found - now).max(axis=-1) > 1e-5)


@MODELS
def test_a_later_token_changes_nothing_before(model):
  rng = np.random.default_rng(4)
  before, ids = tokens([[example(rng, 5)]]), example(rng, 6)
  whole = logits(model, before, tokens([[ids]]))[0]
  for place in range(6):
    other = [*ids]
    other[place] = 4 + (other[place] - 3) % (V - 4)
    found = logits(model, before, tokens([[other]]))[0]
    np.testing.assert_allclose(found[:place], whole[:place], atol=1e-6)
    assert np.all(np.abs(found[place:] - whole[place:]).max(axis=-1) > 1e-5)


@MODELS
def test_padding_packing_and_company_change_nothing(model):
  rng = np.random.default_rng(5)
  rows = [(example(rng, m), example(rng, n)) for m, n in ((5, 6), (2, 4), (7, 3))]
  (b0, t0), (b1, t1), (b2, t2) = rows
  alone = logits(model, tokens([[b0]]), tokens([[t0]]))[0]
  for found in (
    logits(model, tokens([[b0]], 9), tokens([[t0]], 8))[0, :6],
    logits(model, tokens([[b1], [b0]]), tokens([[t1], [t0]]))[1],
    logits(model, tokens([[b1, b0, b2]], 16), tokens([[t1, t0, t2]], 15))[0, 4:10],
  ):
    np.testing.assert_allclose(found, alone, atol=1e-5)
  # An example without anything before it, between two that have something.
  nothing = tokens([[b1, [9], b2]], 16)
  nothing.seg_bt[nothing.seg_bt == 2] = 0
  first = logits(model, nothing, tokens([[t1, t0, t2]], 15))[0, 4:10]
  lonely = one_pass(model, [*t0[1:], 4])
  shifted = logits(model, tokens([[[]]], 3), tokens([[[BOS, *t0[1:]]]]))[0]
  np.testing.assert_allclose(shifted, lonely, atol=2e-5)
  lone = logits(model, tokens([[[]]], 3), tokens([[t0]]))[0]
  np.testing.assert_allclose(first, lone, atol=1e-5)


def test_cached_steps_are_segments_that_remember_everything():
  ids = example(np.random.default_rng(6), 9)
  module = PLAIN.module(V)
  params = module.unstack(variables(PLAIN)["params"])
  state = module.start(params, 1, capacity=9)
  step, found, token = jax.jit(module.step), [], BOS
  for t in range(9):
    y_bwv, state = step(params, np.full((1, 1), token, np.int32), state)
    found.append(y_bwv[0, 0])
    token = ids[t]
  np.testing.assert_allclose(found, by_segments(PLAIN, ids, 4, 9), atol=2e-5)


def test_unroll_is_neutral():
  rng = np.random.default_rng(7)
  before, text = tokens([[example(rng, 5)]]), tokens([[example(rng, 6)]])
  unrolled = dataclasses.replace(PLAIN, unroll=2).module(V)
  found = unrolled.apply(variables(PLAIN), TextWithContext(before, text))
  np.testing.assert_allclose(found, logits(PLAIN, before, text), atol=1e-6)


def test_the_default_scheme_is_the_papers():
  assert TransformerXL().position == TransformerXLPosition()
