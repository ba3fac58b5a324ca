"""Scores, norms, residuals, feed-forward networks and tyings against their papers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from tests.layers.test_layers import Holder, random
from tests.oracles import attention as attention_oracle
from tests.oracles import feedforward as feedforward_oracle
from tests.oracles import norm as norm_oracle
from tests.oracles import scores as scores_oracle
from transformer import tree
from transformer.layers.attention import Attention, KeyValue, TokenContext
from transformer.layers.embedding import (
  Embedding,
  TiedInputs,
  TiedTarget,
  Tying,
  Untied,
)
from transformer.layers.feedforward import (
  GEGLU,
  GELU,
  GLU,
  FeedForward,
  NoFeedForward,
  SiLU,
  SwiGLU,
)
from transformer.layers.norms import BatchNorm, LayerNorm, Norm, RMSNorm
from transformer.layers.residual import NoResidual, PreNorm, Residual
from transformer.layers.scores import Additive, Bilinear, Dot, Score, SharedQueryKey

B, T, S, D, H, K, F = 2, 5, 7, 16, 4, 6, 24


def parameters(layer, *given):
  """A layer's parameters, moved off their start."""
  params = nn.unbox(layer.init(jax.random.key(0), *given)).get("params", {})
  return jax.tree.map(lambda leaf: leaf + 0.3 * random(leaf.size, *leaf.shape), params)


@pytest.mark.parametrize(
  "score, oracle",
  [
    (Score(), scores_oracle.scaled_dot),
    (Dot(), scores_oracle.dot),
    (Additive(), scores_oracle.additive),
    (Bilinear(), scores_oracle.general),
    (SharedQueryKey(), scores_oracle.scaled_dot),
  ],
  ids=lambda value: type(value).__name__,
)
def test_scores_are_their_papers(score, oracle):
  q, k = random(1, B, T, H, K), random(2, B, S, H, K)
  layer = Holder(score)
  params = parameters(layer, q, k)
  found = layer.apply({"params": params}, q, k)
  assert found.shape == (B, H, T, S) and found.dtype == jnp.float32
  for b, h, t, s in np.ndindex(found.shape):
    own = [np.asarray(leaf)[h] for leaf in params.values()]
    expected = oracle(q[b, t, h], k[b, s, h], *own)
    assert found[b, h, t, s] == pytest.approx(expected, abs=1e-4)


class SelfAttention(nn.Module):
  """Keys, values and attention as in a layer."""

  score: Score

  def setup(self):
    self.key_value = KeyValue(H, K, K)
    self.attention = Attention(H, K, self.score, key_value=self.key_value)

  def __call__(self, x_btd):
    tokens = TokenContext(jnp.ones((B, T, T), bool))
    return self.attention(x_btd, *self.key_value(x_btd), tokens)[0]

  def scores(self, x_btd):
    queries = self.score.queries(self.attention, x_btd)
    return self.score(self.attention, queries, self.key_value(x_btd)[0])


def test_one_matrix_for_queries_and_keys_makes_scores_symmetric():
  x = random(3, B, T, D)
  layer = SelfAttention(SharedQueryKey())
  params = parameters(layer, x)
  assert set(params["attention"]) == {"o"}
  found = layer.apply({"params": params}, x)
  weights = {name: np.float64(leaf) for name, leaf in params["key_value"].items()}
  weights |= {"q": weights["k"], "o": np.float64(params["attention"]["o"])}
  for b in range(B):
    expected = attention_oracle.multi_head_attention(x[b], x[b], weights)
    np.testing.assert_allclose(found[b], expected, atol=1e-4)
  scores = layer.apply({"params": params}, x, method="scores")
  np.testing.assert_allclose(scores, jnp.swapaxes(scores, 2, 3), atol=1e-5)


def test_norms_are_the_oracles():
  x = random(5, B, T, D) * 3 + 1
  layer = Holder(RMSNorm())
  params = parameters(layer, x)
  assert set(params) == {"scale"}
  expected = norm_oracle.rms_norm(x, np.asarray(params["scale"]), 1e-6)
  np.testing.assert_allclose(layer.apply({"params": params}, x), expected, atol=1e-5)
  assert Norm()(None, x) is x


def test_batch_norm_is_the_papers_over_real_tokens_alone():
  real = np.random.default_rng(1).random((B, T)) < 0.7
  layer = Holder(BatchNorm(momentum=0.8))
  x = random(2, B, T, D)
  made = nn.unbox(layer.init(jax.random.key(0), x))
  params = made["params"] | {"scale": random(3, D), "bias": random(4, D)}
  assert tree.paths(made["batch_stats"]).keys() == {"mean", "variance"}
  seen = []
  for seed in (5, 6, 7):
    x = random(seed, B, T, D) * 3 + 1
    seen.append(x[real])
    found, changed = layer.apply(
      {"params": params}, x, real, True, mutable=["batch_stats"]
    )
    expected = norm_oracle.batch_norm(x[real], params["scale"], params["bias"], 1e-5)
    np.testing.assert_allclose(found[real], expected, atol=1e-5)
    params |= changed["batch_stats"]
  mean, variance = norm_oracle.batch_averages(seen, 0.8)
  np.testing.assert_allclose(params["mean"], mean, atol=1e-5)
  np.testing.assert_allclose(params["variance"], variance, rtol=1e-5)
  used, changed = layer.apply({"params": params}, x, mutable=["batch_stats"])
  expected = (x - mean) / np.sqrt(variance + 1e-5) * params["scale"] + params["bias"]
  np.testing.assert_allclose(used, expected, atol=1e-5)
  assert not changed


@pytest.mark.parametrize(
  "residual, oracle",
  [
    (Residual(), lambda norm, x, sublayer: norm(x + sublayer(x))),
    (PreNorm(), lambda norm, x, sublayer: x + sublayer(norm(x))),
    (NoResidual(), lambda norm, x, sublayer: norm(sublayer(x))),
  ],
  ids=lambda value: type(value).__name__,
)
def test_residuals_are_the_papers(residual, oracle):
  x, w = random(6, B, T, D), random(7, D, D)

  def sublayer(x):
    return x @ w, None

  layer = Holder(lambda mod, x: residual(mod, LayerNorm(), x, sublayer, 0.0, False)[0])
  params = parameters(layer, x)

  def norm(x):
    return norm_oracle.layer_norm(x, *map(np.asarray, scale_and_bias), 1e-6)

  scale_and_bias = params["scale"], params["bias"]
  expected = oracle(norm, x, lambda x: x @ w)
  np.testing.assert_allclose(layer.apply({"params": params}, x), expected, atol=2e-5)


@pytest.mark.parametrize(
  "network, oracle, names",
  [
    (
      FeedForward(),
      feedforward_oracle.relu_network,
      ["w1", "w1_bias", "w2", "w2_bias"],
    ),
    (
      FeedForward(biases=False),
      feedforward_oracle.relu_network_without_biases,
      ["w1", "w2"],
    ),
    (GELU(), feedforward_oracle.gelu_network, ["w1", "w1_bias", "w2", "w2_bias"]),
    (
      GELU(approximate=True),
      feedforward_oracle.gelu_tanh_network,
      ["w1", "w1_bias", "w2", "w2_bias"],
    ),
    (SiLU(), feedforward_oracle.silu_network, ["w1", "w1_bias", "w2", "w2_bias"]),
    (GLU(), feedforward_oracle.glu_network, ["w1", "v", "w2"]),
    (GEGLU(), feedforward_oracle.geglu_network, ["w1", "v", "w2"]),
    (GEGLU(approximate=True), feedforward_oracle.geglu_tanh_network, ["w1", "v", "w2"]),
    (SwiGLU(), feedforward_oracle.swiglu_network, ["w1", "v", "w2"]),
  ],
  ids=["relu", "t5", "gelu", "gpt2", "silu", "glu", "geglu", "t5_v1_1", "swiglu"],
)
def test_feed_forward_networks_are_their_papers(network, oracle, names):
  x = random(8, B, T, D)
  layer = Holder(lambda mod, x: network(mod, x, F, False))
  params = parameters(layer, x)
  assert set(params) == set(names)
  found = layer.apply({"params": params}, x)
  weights = [np.asarray(params[name], np.float64) for name in names]
  for b, t in np.ndindex(B, T):
    np.testing.assert_allclose(found[b, t], oracle(x[b, t], *weights), atol=5e-5)


def test_without_a_feed_forward_sublayer_the_stream_goes_on():
  x = random(9, B, T, D)
  assert NoFeedForward().sublayer(None, None, x, True) is x


@pytest.mark.parametrize(
  "tying, names",
  [
    (Tying, ("table", "table", "table")),
    (TiedTarget, ("source", "table", "table")),
    (TiedInputs, ("table", "table", "output")),
    (Untied, ("source", "table", "output")),
  ],
)
@pytest.mark.parametrize("scaled", [True, False])
def test_tying_says_which_matrices_are_one(tying, names, scaled):
  layer = Embedding(11, D, tying(scaled=scaled))
  ids, x = np.array([[3, 7, 1], [0, 10, 3]]), random(10, 2, 3, D)
  variables = {"params": parameters(layer, ids)}
  assert set(variables["params"]) == set(names)
  source, target, output = (np.asarray(variables["params"][name]) for name in names)
  factor = 4.0 if scaled else 1.0
  for found, expected in (
    (layer.apply(variables, ids, method="source"), source[ids] * factor),
    (layer.apply(variables, ids), target[ids] * factor),
    (layer.apply(variables, x, method="logits"), x @ output.T),
  ):
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_scaled_logits_are_divided_by_the_root_of_the_width():
  ids, x = np.array([[3, 7, 1]]), random(10, 2, 3, D)
  plain, scaled = (
    Embedding(11, D, TiedTarget(scaled_logits=given)) for given in (False, True)
  )
  variables = {"params": parameters(plain, ids)}
  expected, found = (
    layer.apply(variables, x, method="logits") for layer in (plain, scaled)
  )
  np.testing.assert_allclose(found, expected / 4.0, atol=1e-6)
  np.testing.assert_array_equal(
    scaled.apply(variables, ids), plain.apply(variables, ids)
  )


def test_a_gated_network_with_biases_has_three():
  layer = Holder(lambda mod, x: GEGLU(biases=True)(mod, x, F, False))
  params = parameters(layer, random(8, B, T, D))
  biases = {name: leaf.shape for name, leaf in params.items() if "bias" in name}
  assert biases == {"w1_bias": (F,), "v_bias": (F,), "w2_bias": (D,)}


def test_heads_of_reduced_width_weigh_what_one_full_head_does():
  """§3.2.2: d_k = d_v = d_model / h; at full width each head costs as much again."""

  def count(heads, width):
    x = jnp.zeros((B, T, D))
    key_value, attend = KeyValue(heads, width, width), Attention(heads, width)
    keys = jnp.zeros((B, T, heads, width))
    tokens = TokenContext(jnp.ones((B, T, T), bool))
    made = (
      jax.eval_shape(layer.init, jax.random.key(0), *given)
      for layer, given in ((key_value, (x,)), (attend, (x, keys, keys, tokens)))
    )
    return sum(tree.size(nn.unbox(shapes)) for shapes in made)

  assert count(1, D) == count(2, D // 2) == count(4, D // 4) == 4 * D * D
  assert count(4, D) == 4 * count(1, D)
