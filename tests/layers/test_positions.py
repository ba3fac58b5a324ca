"""Position schemes against oracles written from their papers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from tests.layers.test_layers import Holder, random
from tests.oracles import attention as attention_oracle
from tests.oracles import positions as oracle
from transformer.layers.attention import Attention, TokenContext
from transformer.layers.positions import (
  Alibi,
  Axial,
  ConcatenatedSinusoid,
  Learned,
  LearnedSinusoid,
  Rope,
  Shaw,
  Sinusoid,
  T5Bias,
  Tensor2TensorSinusoid,
  TransformerXLPosition,
)

B, T, S, H, K, U = 2, 5, 7, 4, 6, 3
QUERIES = np.array([[0, 1, 2, 3, 4], [40, 3, 0, 9, 5]])
KEYS = np.array([[0, 1, 2, 3, 4, 5, 6], [3, 77, 0, 41, 9, 5, 12]])


def embedded(position, pos_bt, d):
  """What a scheme adds to embeddings of zeros, and its parameters."""
  layer = Holder(position.embed)
  zeros = jnp.zeros((*pos_bt.shape, d))
  variables = nn.unbox(layer.init(jax.random.key(0), zeros, pos_bt))
  return layer.apply(variables, zeros, pos_bt), variables.get("params", {})


def test_sinusoids_are_the_papers_at_any_position():
  pos_bt = np.array([[0, 1, 2, 3, 4], [7, 3, 0, 511, 2]])
  found, _ = embedded(Sinusoid(), pos_bt, 16)
  for i in range(B):
    expected = oracle.sinusoids(pos_bt[i], 16)
    np.testing.assert_allclose(found[i], expected, atol=1e-4)
  with pytest.raises(ValueError, match="odd"):
    embedded(Sinusoid(), pos_bt, 5)


@pytest.mark.parametrize(
  "position, expected",
  [
    (ConcatenatedSinusoid(), oracle.concatenated_sinusoid),
    (Tensor2TensorSinusoid(), oracle.tensor2tensor_sinusoid),
    (
      Tensor2TensorSinusoid(offset=2),
      lambda p, d: oracle.tensor2tensor_sinusoid(p + 2, d),
    ),
  ],
)
def test_other_sinusoids_are_their_authors(position, expected):
  pos_bt = np.array([[0, 1, 2, 3, 4], [7, 3, 0, 511, 2]])
  found, params = embedded(position, pos_bt, 16)
  assert not params
  for b, t in np.ndindex(pos_bt.shape):
    np.testing.assert_allclose(found[b, t], expected(pos_bt[b, t], 16), atol=1e-4)
  with pytest.raises(ValueError, match="odd"):
    embedded(position, pos_bt, 5)


@pytest.mark.parametrize(
  "position", [Learned(6, offset=2), LearnedSinusoid(6, offset=2)]
)
def test_the_first_rows_of_a_table_with_an_offset_are_not_read(position):
  found, params = embedded(position, KEYS, 16)
  table = np.asarray(params["position"])
  assert table.shape == (8, 16)
  for b, t in np.ndindex(B, S):
    np.testing.assert_array_equal(found[b, t], table[2 + min(KEYS[b, t], 5)])
  if isinstance(position, LearnedSinusoid):
    np.testing.assert_allclose(table[2:], oracle.sinusoids(range(6), 16), atol=1e-5)


def test_a_learned_table_has_one_vector_a_place_and_its_last_beyond():
  found, params = embedded(Learned(length=6), KEYS, 16)
  table = np.asarray(params["position"])
  assert table.shape == (6, 16)
  assert np.std(table) == pytest.approx(16**-0.5, rel=0.3)
  for b, t in np.ndindex(B, S):
    np.testing.assert_array_equal(found[b, t], table[min(KEYS[b, t], 5)])


def test_a_learned_sinusoid_starts_as_the_sinusoid_and_is_a_parameter():
  found, params = embedded(LearnedSinusoid(length=99), KEYS, 16)
  expected, _ = embedded(Sinusoid(), KEYS, 16)
  np.testing.assert_allclose(found, expected, atol=1e-6)
  assert params["position"].shape == (99, 16)


@pytest.mark.parametrize("d", [8, 9])
def test_axial_is_a_row_and_a_column(d):
  found, params = embedded(Axial(rows=4, columns=3), KEYS, d)
  assert sum(leaf.size for leaf in params.values()) == 4 * (d // 2) + 3 * (d - d // 2)
  for b, t in np.ndindex(B, S):
    expected = oracle.axial(KEYS[b, t], params["row"], params["column"])
    np.testing.assert_array_equal(found[b, t], expected)


def test_rope_is_the_papers_matrix_and_makes_scores_relative():
  x = random(1, B, T, H, K)
  found = np.asarray(Rope(base=50.0).rotate(x, QUERIES))
  for b, t, h in np.ndindex(B, T, H):
    expected = oracle.rope(x[b, t, h], QUERIES[b, t], 50.0)
    np.testing.assert_allclose(found[b, t, h], expected, atol=2e-5)
  q, k = random(2, 1, 1, 1, K), random(3, 1, 1, 1, K)

  def score(i, j):
    turned = (Rope().rotate(x, np.array([[at]])) for x, at in ((q, i), (k, j)))
    return float(jnp.vdot(*turned))

  assert score(5, 2) == pytest.approx(score(105, 102), abs=1e-4)
  assert abs(score(5, 2) - score(2, 5)) > 0.01
  with pytest.raises(ValueError, match="odd"):
    Rope().rotate(random(1, B, T, H, 5), QUERIES)


def biases(position, heads, causal):
  layer = Holder(position.bias)
  given = heads, jnp.asarray(QUERIES), jnp.asarray(KEYS), causal
  variables = nn.unbox(layer.init(jax.random.key(0), *given))
  return np.asarray(layer.apply(variables, *given)), variables.get("params", {})


@pytest.mark.parametrize("heads", [8, 6])
def test_alibi_is_a_slope_for_each_head(heads):
  found, params = biases(Alibi(), heads, True)
  assert not params and found.shape == (B, heads, T, S)
  for b, h, t, s in np.ndindex(found.shape):
    expected = oracle.alibi(h, heads, QUERIES[b, t], KEYS[b, s])
    assert found[b, h, t, s] == pytest.approx(expected, rel=1e-5)


def test_the_slopes_of_eight_heads_are_those_printed():
  found, _ = biases(Alibi(), 8, True)
  np.testing.assert_allclose(found[0, :, 1, 0], -(0.5 ** np.arange(1, 9)), rtol=1e-6)


@pytest.mark.parametrize("causal", [True, False])
def test_t5_biases_are_a_number_for_each_bucket_and_head(causal):
  found, params = biases(T5Bias(buckets=12, farthest=50), H, causal)
  for b, h, t, s in np.ndindex(found.shape):
    bucket = oracle.t5_bucket(QUERIES[b, t], KEYS[b, s], 12, 50, causal)
    assert found[b, h, t, s] == params["table"][bucket, h]


@pytest.mark.parametrize("buckets, farthest", [(32, 128), (16, 128), (16, 100), (8, 5)])
def test_t5_buckets_lose_no_edge_to_rounding(buckets, farthest):
  gaps = np.arange(300)
  found = T5Bias(buckets, farthest).bucket(gaps, buckets)
  expected = [oracle.t5_bucket(g, 0, buckets, farthest, True) for g in gaps.tolist()]
  assert found.tolist() == expected
  assert max(expected) == buckets - 1


def check_attention(position, head):
  """Attention under `position` is the concatenation of `head(b, h, q, k, v, allowed,
  weights)` from an oracle."""
  x, k, v = random(4, B, T, 16), random(5, B, S, H, K), random(6, B, S, H, U)
  mask = np.random.default_rng(7).random((B, T, S)) < 0.6
  mask[:, :, 0] = True
  layer = Attention(H, K, position=position)
  tokens = TokenContext(mask, q_pos_bt=jnp.asarray(QUERIES), k_pos_bs=jnp.asarray(KEYS))
  given = x, k, v, tokens
  params = nn.unbox(layer.init(jax.random.key(0), *given))["params"]
  params = {
    name: leaf + 0.3 * random(len(name), *leaf.shape) for name, leaf in params.items()
  }
  found, _ = layer.apply({"params": params}, *given)
  weights = {name: np.asarray(leaf, np.float64) for name, leaf in params.items()}
  queries = np.einsum("btd,dhk->bthk", x, weights["q"])
  for b in range(B):
    z_thu = np.stack(
      [
        head(b, h, queries[b, :, h], k[b, :, h], v[b, :, h], mask[b], weights)
        for h in range(H)
      ],
      axis=1,
    )
    expected = np.einsum("thu,hud->td", z_thu, weights["o"])
    np.testing.assert_allclose(found[b], expected, atol=1e-4)
  return weights


def test_shaw_adds_to_keys_and_values():
  def head(b, h, q, k, v, allowed, weights):
    relative = weights["relative_k"], weights["relative_v"]
    return oracle.shaw(q, k, v, relative, (QUERIES[b], KEYS[b]), allowed)

  weights = check_attention(Shaw(clip=4), head)
  assert weights["relative_k"].shape == (9, K)
  assert weights["relative_v"].shape == (9, U)


def test_transformer_xl_scores_content_and_distance():
  def head(b, h, q, k, v, allowed, weights):
    of_head = (
      weights["relative"][:, h],
      weights["content_bias"][h],
      weights["distance_bias"][h],
    )
    scores = oracle.transformer_xl(q, k, *of_head, QUERIES[b], KEYS[b])
    return attention_oracle.softmax(np.where(allowed, scores, -np.inf)) @ v

  weights = check_attention(TransformerXLPosition(), head)
  assert weights["relative"].shape == (H * K, H, K)


@pytest.mark.parametrize(
  "wrong",
  [
    lambda: Learned(length=0),
    lambda: Learned(offset=-1),
    lambda: Axial(rows=0),
    lambda: Shaw(clip=0),
    lambda: T5Bias(buckets=10),
    lambda: T5Bias(buckets=32, farthest=16),
  ],
)
def test_impossible_schemes_are_refused(wrong):
  with pytest.raises(ValueError, match="position: "):
    wrong()
