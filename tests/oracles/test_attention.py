"""The oracles of attention, positions and norms against Flax, SciPy and hand sums."""

import flax.linen as nn
import numpy as np
import pytest
import scipy.special
import scipy.stats

from tests.oracles import attention, norm, positions

T, S, D, H, K, U = 5, 7, 16, 4, 8, 3


def attention_weights(rng, value_channels=U):
  return {
    "q": rng.standard_normal((D, H, K)),
    "k": rng.standard_normal((D, H, K)),
    "v": rng.standard_normal((D, H, value_channels)),
    "o": rng.standard_normal((H, value_channels, D)),
  }


class TestAttention:
  def test_softmax_is_scipys(self, rng):
    x_ts = 50 * rng.standard_normal((T, S))
    np.testing.assert_allclose(
      attention.softmax(x_ts), scipy.special.softmax(x_ts, axis=-1), rtol=1e-12
    )

  def test_weights_by_hand(self):
    # d_k = 4 makes the scale a half: scores 0 and 2 ln 3 become 0 and ln 3.
    q_tk = np.array([[1.0, 0, 0, 0]])
    k_sk = np.array([[0, 5.0, 0, 0], [2 * np.log(3), 0, 0, 0]])
    np.testing.assert_allclose(attention.attention_weights(q_tk, k_sk), [[0.25, 0.75]])
    v_su = np.array([[4.0, 8, 0], [0, 4, 12]])
    np.testing.assert_allclose(
      attention.scaled_dot_product_attention(q_tk, k_sk, v_su), [[1.0, 5, 9]]
    )

  def test_weights_are_distributions_over_allowed_keys(self, rng):
    q_tk, k_sk = rng.standard_normal((T, K)), rng.standard_normal((S, K))
    allowed_ts = rng.random((T, S)) < 0.5
    allowed_ts[:, 2] = True
    weights_ts = attention.attention_weights(q_tk, k_sk, allowed_ts)
    np.testing.assert_allclose(weights_ts.sum(axis=-1), np.ones(T))
    assert (weights_ts[~allowed_ts] == 0).all()
    assert (weights_ts[allowed_ts] > 0).all()

  def test_a_masked_key_is_an_absent_key(self, rng):
    q_tk, k_sk = rng.standard_normal((T, K)), rng.standard_normal((S, K))
    v_su = rng.standard_normal((S, U))
    kept = np.array([0, 3, 4])
    masked = attention.scaled_dot_product_attention(
      q_tk, k_sk, v_su, np.isin(np.arange(S), kept)[None, :]
    )
    absent = attention.scaled_dot_product_attention(q_tk, k_sk[kept], v_su[kept])
    np.testing.assert_allclose(masked, absent, rtol=1e-12)

  def test_a_query_that_sees_nothing_is_an_error(self, rng):
    allowed_ts = np.ones((T, S), bool)
    allowed_ts[3] = False
    q_tk, k_sk = rng.standard_normal((T, K)), rng.standard_normal((S, K))
    with pytest.raises(ValueError, match="see no key"):
      attention.attention_weights(q_tk, k_sk, allowed_ts)

  def test_causal_is_the_lower_triangle(self):
    expected = [[True, False, False], [True, True, False], [True, True, True]]
    np.testing.assert_array_equal(attention.causal(3), expected)

  def test_multi_head_attention_is_flaxs(self, rng, float64):
    weights = attention_weights(rng, K)  # Flax's layer has one size of channel
    x_td, memory_sd = rng.standard_normal((T, D)), rng.standard_normal((S, D))
    allowed_ts = rng.random((T, S)) < 0.6
    allowed_ts[:, 1] = True
    layer = nn.MultiHeadDotProductAttention(
      H, qkv_features=H * K, use_bias=False, param_dtype=np.float64
    )
    names = {"q": "query", "k": "key", "v": "value", "o": "out"}
    parameters = {names[name]: {"kernel": leaf} for name, leaf in weights.items()}
    mask = allowed_ts[None]
    theirs = layer.apply({"params": parameters}, x_td, memory_sd, mask=mask)
    ours = attention.multi_head_attention(x_td, memory_sd, weights, allowed_ts)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)

  def test_heads_add_up(self, rng):
    # Concat(heads) W^O is the sum over heads of head_i times its own rows of W^O.
    weights = attention_weights(rng)
    x_td, memory_sd = rng.standard_normal((T, D)), rng.standard_normal((S, D))
    parts = [
      attention.multi_head_attention(
        x_td,
        memory_sd,
        {
          name: w[i : i + 1] if name == "o" else w[:, i : i + 1]
          for name, w in weights.items()
        },
      )
      for i in range(H)
    ]
    whole = attention.multi_head_attention(x_td, memory_sd, weights)
    np.testing.assert_allclose(whole, sum(parts), rtol=1e-10, atol=1e-10)


class TestPositions:
  def test_by_hand(self):
    # d = 4: wavelengths 2 pi and 2 pi 100.
    np.testing.assert_array_equal(positions.sinusoid(0, 4), [0, 1, 0, 1])
    np.testing.assert_allclose(
      positions.sinusoid(3, 4), [np.sin(3), np.cos(3), np.sin(0.03), np.cos(0.03)]
    )

  def test_a_shift_is_one_linear_map(self):
    """§3.5: for any fixed k, PE(pos + k) "can be represented as a linear function"."""
    shift = 9
    here_td = positions.sinusoids(range(40), D)
    there_td = positions.sinusoids(range(shift, 40 + shift), D)
    # The map: a rotation by k / 10000^(2i / d) in every plane (2i, 2i + 1).
    for i in range(D // 2):
      angle = shift / 10000 ** (2 * i / D)
      plane = slice(2 * i, 2 * i + 2)
      sine, cosine = np.sin(angle), np.cos(angle)
      rotated = here_td[:, plane] @ np.array([[cosine, -sine], [sine, cosine]])
      np.testing.assert_allclose(rotated, there_td[:, plane], atol=1e-12)

  def test_wavelengths_are_the_papers(self):
    """§3.5: a geometric progression from 2 pi towards 10000 * 2 pi."""
    for i in range(D // 2):
      wavelength = 2 * np.pi * 10000 ** (2 * i / D)
      turned = positions.sinusoid(5 + wavelength, D)
      plane = slice(2 * i, 2 * i + 2)
      np.testing.assert_allclose(turned[plane], positions.sinusoid(5, D)[plane])


class TestNorm:
  def test_layer_norm_by_hand(self):
    x = np.array([1.0, 2, 3, 6])  # mean 3, variance (4 + 1 + 0 + 9) / 4 = 3.5
    normal = norm.layer_norm(x, 2.0, 1.0, epsilon=0.5)
    np.testing.assert_allclose(normal, [-1, 0, 1, 4])

  def test_rms_norm_by_hand(self):
    x = np.array([1.0, 1, 3, 5])  # mean square 9
    np.testing.assert_allclose(norm.rms_norm(x, 6.0, 0.0), [2, 2, 6, 10])
    np.testing.assert_allclose(norm.rms_norm(x, 8.0, 7.0), [2, 2, 6, 10])

  @pytest.mark.parametrize("epsilon", [1e-6, 0.3])
  def test_are_flaxs(self, rng, float64, epsilon):
    x_td = 3 + rng.standard_normal((T, D))
    scale, bias = rng.standard_normal(D), rng.standard_normal(D)
    theirs = nn.LayerNorm(epsilon=epsilon, use_fast_variance=False).apply(
      {"params": {"scale": scale, "bias": bias}}, x_td
    )
    ours = norm.layer_norm(x_td, scale, bias, epsilon)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)
    theirs = nn.RMSNorm(epsilon=epsilon).apply({"params": {"scale": scale}}, x_td)
    np.testing.assert_allclose(norm.rms_norm(x_td, scale, epsilon), theirs, rtol=1e-9)
