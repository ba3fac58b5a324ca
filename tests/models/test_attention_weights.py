"""Attention weights are an output; without a request for them, none are stacked."""

import functools

import jax
import numpy as np
import pytest
from flax import linen as nn

from tests.models.mixtures import mixtures
from tests.models.test_family import small
from tests.models.test_transformer import V, example, quick, tokens
from transformer import config as configs
from transformer import tree
from transformer.batch import (
  Images,
  Labelled,
  Pairs,
  Questions,
  Sentences,
  TextWithContext,
)
from transformer.models.base import Attends, Model
from transformer.models.parent import ParentModel
from transformer.models.resnet import ResNet
from transformer.models.rnn import RNNSeq2Seq
from transformer.models.transformer import Transformer
from transformer.models.vit import DistilledVisionTransformer

LAYERS, HEADS, B, T, S = 2, 4, 3, 5, 7
SHAPES = {
  "decoder/source_attention": (T, S),
  "decoder/self_attention": (T, T),
  "encoder/self_attention": (S, S),
  "self_attention": (T, T),
  "memory_attention": (1, 4),
}


def batch_of(model):
  """A batch of whatever the model reads, of lengths t, and s for sources."""
  rng = np.random.default_rng(0)
  source, target = (tokens([[example(rng, n)] for _ in range(B)]) for n in (S, T))
  kind, one_b = type(model.example()), np.ones(B, np.int32)
  if kind is Pairs:
    return Pairs(source, target)
  if kind is TextWithContext:
    return TextWithContext(jax.tree.map(lambda x: x[:, :0], source), target)
  if kind is Questions:
    id_bst = rng.integers(0, V, (B, 4, 3)).astype(np.int32)
    age_bs = np.tile(np.arange(4, dtype=np.int32), (B, 1))
    return Questions(id_bst, age_bs, id_bst[:, 0], one_b, one_b)
  if kind is Images:
    return Images(rng.integers(0, 255, (B, 4, 6, 3)).astype(np.uint8), one_b, one_b)
  if kind is Sentences:
    return Sentences(source)
  return Labelled(source, source.id_bt) if kind is Labelled else source


def variables(model, batch):
  """Random parameters, those that begin with zeros too, and their boxed shapes."""
  boxed = jax.eval_shape(model.module(V).init, jax.random.key(0), batch)
  rng = np.random.default_rng(1)
  values = jax.tree.map(
    lambda leaf: rng.normal(size=leaf.shape, scale=0.3).astype(leaf.dtype),
    nn.unbox(boxed),
  )
  # A variance is positive.
  stats = jax.tree.map(np.abs, values.get("batch_stats", {}))
  return {**values, "batch_stats": stats}, boxed["params"]


def attention(model):
  """What a model computes, and its boxed parameters."""
  batch = batch_of(model)
  values, boxed = variables(model, batch)
  apply = quick(functools.partial(model.module(V).apply, method="attention"))
  return apply(values, batch), boxed


ATTENDING = [
  pytest.param(small(kind), id=name)
  for name, kind in configs.members(Model).items()
  if kind not in (RNNSeq2Seq, ResNet, ParentModel)
]


@pytest.mark.parametrize(
  "kind", [kind for kind in configs.members(Model).values() if kind is not ParentModel]
)
def test_every_model_but_two_attends(kind):
  attends = isinstance(small(kind).module(V), Attends)
  assert attends == (kind not in (RNNSeq2Seq, ResNet))


@pytest.mark.parametrize("model", ATTENDING)
def test_every_row_sums_to_one_and_every_attention_is_there(model):
  found, boxed = attention(model)
  outputs = {
    path.replace("layers/", "").removesuffix("/o")
    for path, leaf in tree.paths(
      jax.tree.map(
        lambda box: box.inputs, boxed, is_leaf=lambda x: hasattr(x, "inputs")
      )
    ).items()
    if leaf == "hk"
  }
  heads = getattr(model, "heads", 1)
  assert outputs == (set(found) if heads > 1 else set())
  for name, intermediates in found.items():
    weights_lbhts = np.asarray(intermediates.weights_bhts)
    layers = getattr(model, "layers", getattr(model, "hops", 1))
    shape = SHAPES[name]
    if model.example()._fields == Images._fields:
      # Two by three patches and the class token, and DeiT's of distillation.
      shape = (8, 8) if isinstance(model, DistilledVisionTransformer) else (7, 7)
    elif name == "self_attention":
      shape = (T, T) if model.example()._fields == TextWithContext._fields else (S, S)
    assert weights_lbhts.shape == (layers, B, heads, *shape)
    assert (weights_lbhts >= 0).all()
    np.testing.assert_allclose(weights_lbhts.sum(axis=-1), 1.0, atol=1e-5)
    if "self_attention" in name and not name.startswith("encoder"):
      assert (np.triu(weights_lbhts, 1) == 0).all()


@pytest.mark.parametrize("model", list(mixtures(small(Transformer))))
def test_weights_are_the_softmax_of_queries_times_keys(model):
  """For every score, position and norm: so a reader can follow one to the other."""
  found, _ = attention(model)
  scale = model.score.scale(model.key_width)
  for name, (weights_lbhts, q_lbthk, k_lbshk, bias_lbhts) in found.items():
    assert (q_lbthk is None) == (scale is None)
    if scale is None:
      continue
    score_lbhts = scale * np.einsum("lbthk,lbshk->lbhts", q_lbthk, k_lbshk)
    if bias_lbhts is not None:
      score_lbhts = score_lbhts + np.asarray(bias_lbhts)
    if name == "decoder/self_attention":
      future_ts = np.triu(np.ones((T, T), bool), 1)
      score_lbhts = np.where(future_ts, -np.inf, score_lbhts)
    wanted_lbhts = np.exp(score_lbhts - score_lbhts.max(axis=-1, keepdims=True))
    wanted_lbhts /= wanted_lbhts.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(weights_lbhts, wanted_lbhts, atol=1e-5)


def stacked_shapes(model, method):
  """Shapes of everything that `nn.scan` stacks over the layers in one pass."""
  module, batch = model.module(V), batch_of(model)
  params, _ = variables(model, batch)

  def run(params):
    rngs = {"dropout": jax.random.key(1)}
    arguments = {"train": True, "rngs": rngs} if method is None else {"method": method}
    return module.apply(params, batch, **arguments)

  found = set()
  for equation in jax.make_jaxpr(run)(params).eqns:
    if equation.primitive.name == "scan":
      carries = equation.params["num_carry"]
      found |= {variable.aval.shape for variable in equation.outvars[carries:]}
  return found


STACKED = [
  param for param in ATTENDING if "unroll" in configs.annotations(type(param.values[0]))
]


@pytest.mark.parametrize("model", STACKED)
def test_weights_are_stacked_on_request_alone(model):
  inputs = set()
  if model.example()._fields == TextWithContext._fields:
    inputs = {(LAYERS, B, T, model.d_model), (LAYERS, B, 0, model.d_model)}
  assert stacked_shapes(model, None) <= inputs
  found, _ = attention(model)
  heads = getattr(model, "heads", None)
  for intermediates in found.values():
    shape = np.shape(intermediates.weights_bhts)
    shape = shape if heads else (*shape[:2], *shape[3:])  # stacked without heads
    assert shape in stacked_shapes(model, "attention")
