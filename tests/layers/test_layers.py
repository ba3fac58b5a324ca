"""Layers against the NumPy oracles, and the promises of their docstrings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from tests.oracles import attention as attention_oracle
from tests.oracles import norm as norm_oracle
from transformer.axes import dims
from transformer.layers.attention import Attention, KeyValue, TokenContext
from transformer.layers.dropout import dropout, hashed_bits
from transformer.layers.embedding import Embedding
from transformer.layers.linear import project
from transformer.layers.masks import causal, same_segment
from transformer.layers.norms import LayerNorm


class Holder(nn.Module):
  """Runs a function that needs a module for its parameters."""

  function: object

  @nn.compact
  def __call__(self, *args, **kwargs):
    return self.function(self, *args, **kwargs)


def random(seed, *shape):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_dims_returns_sizes_and_names_what_disagrees():
  a, b = np.zeros((2, 3, 4)), np.zeros((2, 5, 4))
  assert dims(x_btd=a, y_bsd=b) == {"b": 2, "t": 3, "d": 4, "s": 5}
  with pytest.raises(ValueError, match=r"y_btd: expected size 3 .* got 5"):
    dims(x_btd=a, y_btd=b)
  with pytest.raises(ValueError, match="x_bt: expected axes"):
    dims(x_bt=a)


def test_project_has_the_fans_of_the_letters_not_of_the_shape():
  x = random(0, 2, 5, 16)
  layer = Holder(lambda mod, x: project(mod, "q", "btd,dhk->bthk", x, h=4, k=8))
  params = nn.unbox(layer.init(jax.random.key(0), x))["params"]
  assert params["q"].shape == (16, 4, 8)
  limit = np.sqrt(6 / (16 + 4 * 8))
  assert 0.95 * limit < np.abs(params["q"]).max() <= limit
  y = layer.apply({"params": params}, x)
  expected = np.tensordot(x, params["q"], axes=1)
  np.testing.assert_allclose(y, expected, atol=1e-5)


def test_weights_carry_their_letters_as_logical_axes():
  layer = Holder(lambda mod, x: project(mod, "o", "bthk,hkd->btd", x, d=6, bias=True))
  boxed = jax.eval_shape(layer.init, jax.random.key(0), jnp.zeros((2, 5, 4, 3)))
  specs = nn.get_partition_spec(boxed)["params"]
  assert tuple(specs["o"]) == ("h", "k", "d")
  assert tuple(specs["o_bias"]) == ("d",)


def test_attention_is_the_papers():
  b, t, s, d, h, k, u = 2, 5, 7, 16, 4, 8, 3
  x_btd, y_bsd = random(1, b, t, d), random(2, b, s, d)
  mask_bts = np.random.default_rng(3).random((b, t, s)) < 0.6
  mask_bts[:, :, 0] = True
  key_value, attend = KeyValue(h, k, u), Attention(h, k)
  source = nn.unbox(key_value.init(jax.random.key(0), y_bsd))
  keys, values = key_value.apply(source, y_bsd)
  assert keys.shape == (b, s, h, k) and values.shape == (b, s, h, u)
  own = nn.unbox(
    attend.init(jax.random.key(1), x_btd, keys, values, TokenContext(mask_bts))
  )
  found, made = attend.apply(own, x_btd, keys, values, TokenContext(mask_bts))
  np.testing.assert_allclose(made.weights_bhts.sum(axis=-1), 1.0, atol=1e-6)
  weights = {**source["params"], **own["params"]}
  weights = {name: np.asarray(w, np.float64) for name, w in weights.items()}
  for i in range(b):
    expected = attention_oracle.multi_head_attention(
      x_btd[i].astype(np.float64), y_bsd[i].astype(np.float64), weights, mask_bts[i]
    )
    np.testing.assert_allclose(found[i], expected, atol=1e-5)


def test_masked_keys_have_no_weight_at_all():
  x_btd, y_bsd = random(1, 2, 5, 16), random(2, 2, 7, 16)
  mask_bts = np.ones((2, 5, 7), bool)
  mask_bts[:, :, 3] = False
  key_value, attend = KeyValue(4, 8, 8), Attention(4, 8)
  source = nn.unbox(key_value.init(jax.random.key(0), y_bsd))
  keys, values = key_value.apply(source, y_bsd)
  own = nn.unbox(
    attend.init(jax.random.key(1), x_btd, keys, values, TokenContext(mask_bts))
  )

  def out(y_bsd):
    keys, values = key_value.apply(source, y_bsd)
    return attend.apply(own, x_btd, keys, values, TokenContext(mask_bts))[0].sum()

  gradient = jax.grad(out)(y_bsd)
  assert np.all(gradient[:, 3] == 0.0)
  assert np.all(np.abs(gradient[:, 2]).max(axis=-1) > 0.0)


def test_masks_are_literal():
  pos = np.array([[0, 1, 2]])
  lower = [[[True, False, False], [True, True, False], [True, True, True]]]
  assert np.array_equal(causal(pos, pos), lower)
  # A cached step: the query stands at 1, slots 2 and 3 are not written yet.
  assert np.array_equal(causal(np.array([[1]]), np.array([[0, 1, 2, 3]])),
                        [[[True, True, False, False]]])  # fmt: skip
  same = same_segment(np.array([[1, 2, 0]]), np.array([[1, 1, 2, 0]]))
  assert np.array_equal(same[0], [[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def test_layer_norm_is_the_oracles():
  x = random(5, 2, 5, 16) * 3 + 1
  layer = Holder(LayerNorm())
  params = nn.unbox(layer.init(jax.random.key(0), x))["params"]
  params = {"scale": random(6, 16), "bias": random(7, 16)}
  found = layer.apply({"params": params}, x)
  expected = norm_oracle.layer_norm(x, params["scale"], params["bias"], 1e-6)
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_embedding_is_one_matrix_times_the_root_of_its_width():
  layer = Embedding(vocabulary=11, d_model=16)
  ids = np.array([[3, 7, 1], [0, 10, 3]])
  variables = nn.unbox(layer.init(jax.random.key(0), ids))
  table = variables["params"]["table"]
  np.testing.assert_allclose(layer.apply(variables, ids), table[ids] * 4.0, rtol=1e-6)
  x = random(8, 2, 3, 16)
  logits = layer.apply(variables, x, method="logits")
  np.testing.assert_allclose(logits, x @ np.asarray(table).T, atol=1e-5)
  assert jax.tree.structure(variables["params"]).num_leaves == 1


def test_dropout_keeps_the_mean_and_is_off_outside_training():
  x = np.ones((64, 33, 47), np.float32)
  layer = Holder(lambda mod, x, train: dropout(mod, x, 0.3, train))
  y = np.asarray(layer.apply({}, x, True, rngs={"dropout": jax.random.key(1)}))
  dropped = np.mean(y == 0.0)
  assert abs(dropped - 0.3) < 4 * np.sqrt(0.21 / y.size)
  np.testing.assert_allclose(y[y != 0], 1 / 0.7, rtol=1e-6)
  assert np.array_equal(layer.apply({}, x, False), x)


def test_hashed_bits_are_fair_independent_and_the_same_under_any_slicing():
  bits = np.asarray(hashed_bits(jax.random.key(2), (257, 1031)))
  assert np.array_equal(bits, hashed_bits(jax.random.key(2), (257, 1031)))
  assert not np.array_equal(bits, hashed_bits(jax.random.key(3), (257, 1031)))
  ones = np.unpackbits(bits.view(np.uint8)).mean()
  assert abs(ones - 0.5) < 4 * 0.5 / np.sqrt(bits.size * 32)
  u = bits / 2**32
  limit = 4 / np.sqrt(u.size)
  other = np.asarray(hashed_bits(jax.random.key(3), (257, 1031))) / 2**32
  for shifted in (np.roll(u, 1, 1), np.roll(u, 1, 0), np.roll(u, 2, 1), other):
    assert abs(np.corrcoef(u.ravel(), shifted.ravel())[0, 1]) < limit
  counts = np.bincount((u.ravel() * 64).astype(int), minlength=64)
  chi = np.sum((counts - u.size / 64) ** 2) / (u.size / 64)
  assert chi < 63 + 4 * np.sqrt(2 * 63)
