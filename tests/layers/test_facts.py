"""Small exact facts of the paper, one test each.

Others stand with what they are about: equivariance without positions and dropout at
inference in tests/models, symmetric scores and the cost of heads in test_recipes.py.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.layers.test_layers import random
from transformer.layers.attention import Attention, TokenContext
from transformer.layers.embedding import Embedding, Tying
from transformer.layers.positions import Sinusoid
from transformer.layers.scores import Dot, Score


@pytest.mark.parametrize("d_k", [16, 64, 256])
def test_the_variance_of_q_k_is_d_k_and_scaled_it_is_one(d_k):
  """§3.2.1, footnote 4: components with mean 0 and variance 1."""
  q, k = random(1, 2, 50, 3, d_k), random(2, 2, 70, 3, d_k)
  assert np.var(Dot()(None, q, k)) == pytest.approx(d_k, rel=0.15)
  assert np.var(Score()(None, q, k)) == pytest.approx(1.0, rel=0.15)
  assert abs(np.mean(Score()(None, q, k))) < 0.1


def steepest(score, d_k, keys=10):
  """The largest entry of the softmax's Jacobian for each of 300 random queries over
  `keys` keys of their own."""
  q, k = random(3, 300, 1, 1, d_k), random(4, 300, keys, 1, d_k)
  weights = jax.nn.softmax(jnp.asarray(score(None, q, k), jnp.float32), axis=-1)
  p = np.asarray(weights, np.float64)[:, 0, 0]
  jacobian = p[:, :, None] * (np.eye(keys) - p[:, None, :])
  return np.abs(jacobian).max(axis=(1, 2))


def test_unscaled_scores_leave_the_softmax_without_a_gradient_at_large_d_k():
  """§3.2.1: "pushing the softmax function into regions where it has extremely small
  gradients". At d_k 1000 the worst of 300 queries has none to speak of; scaled, every
  one has."""
  at_100, at_1000 = steepest(Dot(), 100), steepest(Dot(), 1000)
  assert np.median(at_1000) < 0.1 * np.median(at_100) < 0.1
  assert at_1000.min() < 1e-10
  for d_k in (100, 1000):
    scaled = steepest(Score(), d_k)
    assert scaled.min() > 0.05
    assert 0.1 < np.median(scaled) < 0.25


def test_masked_weights_are_zero_and_rows_sum_to_one():
  """Values are the unit vectors and the output map the identity: what comes out of
  attention are its weights."""
  b, t, s, d, h, k = 2, 5, 7, 14, 2, 6
  x, keys = random(5, b, t, d), random(6, b, s, h, k) * 3
  units = jnp.broadcast_to(jnp.eye(s)[None, :, None], (b, s, h, s))
  mask = np.random.default_rng(7).random((b, t, s)) < 0.5
  mask[:, :, 2] = True
  layer = Attention(h, k)
  params = {
    "q": jnp.asarray(random(8, d, h, k)),
    "o": jnp.eye(h * s).reshape(h, s, h * s),
  }
  y, returned = layer.apply({"params": params}, x, keys, units, TokenContext(mask))
  weights = y.reshape(b, t, h, s)
  np.testing.assert_allclose(
    returned.weights_bhts.transpose(0, 2, 1, 3), weights, atol=1e-6
  )
  np.testing.assert_allclose(weights.sum(axis=-1), 1.0, atol=1e-6)
  seen = np.broadcast_to(mask[:, :, None], weights.shape)
  assert np.all(weights[~seen] == 0.0)
  assert np.all(weights[seen] > 0.0)


def test_the_factor_makes_tokens_and_places_terms_of_one_size():
  """§3.4 and §3.5: without sqrt(d_model) a token would drown in its place."""
  d, v, t = 256, 50, 64
  ids, pos = jnp.arange(t)[None] % v, jnp.arange(t)[None]
  place = Sinusoid().embed(None, jnp.zeros((1, t, d)), pos)
  sizes = {}
  for scaled in (True, False):
    layer = Embedding(v, d, Tying(scaled=scaled))
    token, _ = layer.init_with_output(jax.random.key(0), ids)
    sizes[scaled] = float(jnp.std(token) / jnp.std(place))
  assert 0.5 < sizes[True] < 2.0
  assert sizes[False] == pytest.approx(sizes[True] / d**0.5, rel=1e-5)
