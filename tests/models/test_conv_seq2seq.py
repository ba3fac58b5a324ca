"""The convolutional model is the paper's, by an independent one; and its layers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from tests.models.test_family import small
from tests.models.test_transformer import V, example, logits, tokens, variables
from tests.oracles import convolutional as oracle
from transformer.batch import BOS, Pairs
from transformer.layers.convolution import (
  GatedConvolution,
  attend,
  attention_weights,
  scale_gradient,
  windows,
)
from transformer.models.conv_seq2seq import ConvSeq2Seq

MODEL = dataclasses.replace(small(ConvSeq2Seq), layers=3, kernel=5)


def renamed(tree):
  """`w_bias` as `b`, in float64."""
  if not isinstance(tree, dict):
    return np.asarray(tree, np.float64)
  return {"b" if n == "w_bias" else n: renamed(part) for n, part in tree.items()}


def each(stacked, depth):
  return [jax.tree.map(lambda leaf, i=i: leaf[i], stacked) for i in range(depth)]


def weights_of(model):
  params = renamed(variables(model)["params"])
  return {
    **params,
    **{
      side: {
        "tokens": params[f"{side}_positioned_embedding"]["embedding"]["table"],
        "position": params[f"{side}_positioned_embedding"]["position"],
      }
      for side in ("source", "target")
    },
    "encoder": each(params["encoder"]["GatedConvolution_0"], model.layers),
    "decoder": each(params["decoder"], model.layers),
  }


def test_the_whole_model_is_the_oracle():
  rng = np.random.default_rng(0)
  sources, targets = ([example(rng, n) for n in sizes] for sizes in ((7, 4), (6, 3)))
  found = logits(MODEL, tokens([[s] for s in sources]), tokens([[t] for t in targets]))
  weights = weights_of(MODEL)
  for row, (source, target) in enumerate(zip(sources, targets, strict=True)):
    expected = oracle.forward(weights, source, [BOS, *target[:-1]])
    np.testing.assert_allclose(found[row, : len(target)], expected, atol=2e-5)


def test_windows_are_literal():
  x = jnp.arange(1, 7).reshape(1, 6, 1)
  seg = jnp.array([[1, 1, 1, 2, 2, 0]])
  found = windows(x, seg, range(-1, 2))[0, :, :, 0]
  assert found.tolist() == [
    [0, 1, 2], [1, 2, 3], [2, 3, 0], [0, 4, 5], [4, 5, 0], [0, 6, 0],
  ]  # fmt: skip
  found = windows(x, seg, (-2, 0))[0, :, :, 0]
  assert found.tolist() == [[0, 1], [0, 2], [1, 3], [0, 4], [0, 5], [0, 6]]


def test_attention_scales_with_the_root_of_the_tokens_it_may_see():
  rng = np.random.default_rng(1)
  q, k, v = (rng.normal(size=(2, n, 3)).astype(np.float32) for n in (4, 5, 5))
  mask = np.ones((2, 4, 5), bool)
  mask[:, :, 3:], mask[1, 2] = False, False
  found = attend(attention_weights(q, k, mask), v, mask)
  share = np.exp(q[0, 1] @ k[0, :3].T)
  expected = 3 * np.sqrt(1 / 3) * (share / share.sum()) @ v[0, :3]
  np.testing.assert_allclose(found[0, 1], expected, rtol=1e-5)
  assert np.all(found[1, 2] == 0.0)


@pytest.mark.parametrize("kept", [1.0, 0.7])
def test_a_gated_convolution_keeps_the_variance_of_what_dropout_leaves(kept):
  rng = np.random.default_rng(2)
  x = rng.normal(size=(30, 20, 5, 64)).astype(np.float32)
  x *= (rng.random(x.shape) < kept) / kept
  layer = GatedConvolution(48, kept)
  params = nn.unbox(layer.init(jax.random.key(0), x))
  # Half the gate's variance is lost in the mean of its square (appendix A.1, eq. 9).
  assert 0.9 < layer.apply(params, x).var() < 1.6


def test_the_encoders_blocks_get_their_share_of_the_gradient():
  assert scale_gradient(3.0, 0.25) == 3.0
  assert jax.grad(lambda x: scale_gradient(x, 0.25) ** 2)(3.0) == 1.5


def test_places_beyond_the_last_share_its_vector():
  rng = np.random.default_rng(3)
  short = dataclasses.replace(MODEL, positions=3)
  params = jax.tree.map(lambda leaf: leaf, variables(short))
  source, target = tokens([[example(rng, 7)]]), tokens([[example(rng, 4)]])
  longer = dataclasses.replace(MODEL, positions=7)
  for side in ("source_positioned_embedding", "target_positioned_embedding"):
    table = params["params"][side]["position"]
    table = jnp.concatenate([table, jnp.repeat(table[-1:], 4, axis=0)])
    params["params"][side] = {**params["params"][side], "position": table}
  batch = (source, target)
  found = longer.module(V).apply(params, Pairs(*batch))
  np.testing.assert_allclose(found, logits(short, *batch), atol=1e-5)
