"""BERT: equal to an independent encoder, and what every model of one text promises."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from tests.models.test_family import small
from tests.models.test_transformer import V, example, tokens
from tests.oracles import transformer as oracle
from tests.oracles.attention import multi_head_attention
from transformer import tree
from transformer.batch import BOS, EOS, Labelled, Sentences
from transformer.layers.residual import PreNorm
from transformer.models.bert import Bert, BertClassifier, BertEncoder

PLAIN = small(Bert)
MODELS = pytest.mark.parametrize(
  "model",
  [
    PLAIN,
    dataclasses.replace(PLAIN, residual=PreNorm()),
    dataclasses.replace(PLAIN, token_types=3),
    small(BertClassifier),
    dataclasses.replace(small(BertEncoder), pooler=True),
  ],
  ids=["post", "pre", "types", "classifier", "encoder"],
)


def read(model, batch):
  """Tokens as the model reads them."""
  if isinstance(model, BertClassifier):
    return Labelled(batch, np.zeros_like(batch.id_bt))
  if isinstance(model, BertEncoder):
    return Sentences(batch)
  return batch


@functools.cache
def variables(model):
  init = jax.jit(model.module(V).init)
  params = nn.unbox(init(jax.random.key(0), read(model, tokens([[[4, 5, EOS]]]))))
  return jax.tree.map(
    lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(leaf.size), leaf.shape),
    params,
  )


def logits(model, batch):
  apply = jax.jit(model.module(V).apply)
  return np.asarray(apply(variables(model), read(model, batch)))


def encoded(params, ids):
  """The stack after Devlin et al. 2019, by the oracle's parts, with GELU."""
  table = params["embedding"]["table"]
  x = table[ids] + params["encoder"]["position_encoding"]["position"][: len(ids)]
  for l in range(PLAIN.layers):
    layer = jax.tree.map(lambda leaf, l=l: leaf[l], params["encoder"]["layers"])
    attention = {**layer["self_key_value"], **layer["self_attention"]}
    everything = np.ones((len(ids), len(ids)), bool)
    found = multi_head_attention(x, x, attention, everything)
    x = oracle.add_and_norm(x, found, layer["self_sublayer"], oracle.EPSILON)
    feed = layer["feed_forward"]
    inner = gelu(x @ feed["w1"] + feed["w1_bias"])
    found = inner @ feed["w2"] + feed["w2_bias"]
    x = oracle.add_and_norm(x, found, layer["feed_forward_sublayer"], oracle.EPSILON)
  return x


def gelu(x):
  return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def doubles(model):
  found = variables(model)["params"]
  return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), found)


def test_the_masked_model_is_an_independent_one():
  ids = [BOS, *example(np.random.default_rng(0), 6)]
  params = doubles(PLAIN)
  head = params["masked_head"]
  y = gelu(encoded(params, ids) @ head["w"] + head["w_bias"])
  y = oracle.add_and_norm(y, np.zeros_like(y), head, oracle.EPSILON)
  y = y @ params["embedding"]["table"].T + params["bias"]
  np.testing.assert_allclose(logits(PLAIN, tokens([[ids]]))[0], y, atol=3e-5)


def test_the_classifier_is_an_independent_one():
  model = small(BertClassifier)
  ids = [BOS, *example(np.random.default_rng(0), 6)]
  params = doubles(model)
  head = params["class_head"]
  y = np.tanh(encoded(params, ids) @ head["pool"] + head["pool_bias"])
  y = y @ head["w"] + head["w_bias"]
  assert y.shape == (7, 7)
  np.testing.assert_allclose(logits(model, tokens([[ids]]))[0], y, atol=3e-5)


def test_the_first_token_type_is_added_to_every_token():
  model = dataclasses.replace(PLAIN, token_types=3)
  batch = tokens([[example(np.random.default_rng(0), 6)]], 8)
  params = dict(variables(model)["params"])
  types_cd = params.pop("token_type")
  assert types_cd.shape == (3, 16)
  table_td = params["encoder"]["position_encoding"]["position"]
  encoder = {
    **params["encoder"], "position_encoding": {"position": table_td + types_cd[:1]}
  }  # fmt: skip
  plain = {"params": {**params, "encoder": encoder}}
  expected = PLAIN.module(V).apply(plain, batch)
  np.testing.assert_allclose(logits(model, batch), expected, atol=1e-5)


def test_a_pooler_is_the_first_layer_of_the_classifier():
  batch = tokens([[[BOS, *example(np.random.default_rng(0), 6)]]])
  model = dataclasses.replace(small(BertEncoder), pooler=True)
  params = doubles(model)
  encoded_td = encoded(params, batch.id_bt[0])
  head = params["class_head"]
  expected = np.tanh(encoded_td @ head["pool"] + head["pool_bias"])
  np.testing.assert_allclose(logits(model, batch)[0], expected, atol=3e-5)
  bare = {"params": {k: v for k, v in variables(model)["params"].items()
                     if k != "class_head"}}  # fmt: skip
  found = small(BertEncoder).module(V).apply(bare, Sentences(batch))
  np.testing.assert_allclose(found[0], encoded_td, atol=3e-5)


@MODELS
def test_shape_and_finite_gradient(model):
  rng = np.random.default_rng(1)
  batch = read(model, tokens([[example(rng, 8)], [example(rng, 3)]]))
  model = dataclasses.replace(model, dropout=0.2)
  size = {BertClassifier: 7, BertEncoder: model.d_model}.get(type(model), V)

  def loss(params):
    rngs = {"dropout": jax.random.key(3)}
    y = model.module(V).apply(params, batch, train=True, rngs=rngs)
    assert y.shape == (2, 8, size) and y.dtype == jnp.float32
    return jnp.sum(jnp.square(jax.nn.log_softmax(y)))

  gradient = jax.jit(jax.grad(loss))(variables(model))
  for path, leaf in tree.paths(gradient).items():
    assert np.all(np.isfinite(leaf)) and np.any(leaf != 0), path


@MODELS
def test_every_token_is_seen_from_everywhere(model):
  ids = example(np.random.default_rng(2), 6)
  whole = logits(model, tokens([[ids]]))[0]
  for place in range(len(ids)):
    other = [*ids]
    other[place] = 4 + (other[place] - 3) % (V - 4)
    apart = np.abs(logits(model, tokens([[other]]))[0] - whole).max(axis=-1)
    assert np.all(apart > 1e-5)


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
def test_unroll_is_neutral(model):
  batch = tokens([[example(np.random.default_rng(5), 7)]])
  unrolled = dataclasses.replace(model, unroll=2).module(V)
  found = unrolled.apply(variables(model), read(model, batch))
  np.testing.assert_allclose(found, logits(model, batch), atol=4e-6)


def test_the_defaults_are_the_papers_base_model():
  # Devlin et al. 2019, §3: 110 million, with 30,522 pieces, two kinds of segments, the
  # biases of attention and a norm of embeddings, which are not here.
  params = jax.eval_shape(
    Bert().module(30_522).init, jax.random.key(0), Bert().example()
  )
  assert 108e6 < tree.size(params) < 112e6


def test_token_types_below_zero_are_refused():
  with pytest.raises(ValueError, match=r"model\.token_types: expected 0 or more"):
    Bert(token_types=-1)


def test_too_few_classes_are_refused():
  with pytest.raises(ValueError, match=r"model\.classes: expected 2 or more, got 1"):
    BertClassifier(classes=1)
