"""Weights in 8 bits, against whole-number arithmetic in NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from transformer.axes import Weight
from transformer.batch import EOS, Pairs, Tokens
from transformer.inference.search import Search, Searcher
from transformer.layers import int8
from transformer.layers.int8 import Int8, einsum, quantise
from transformer.models.transformer import Transformer

B, T, D, H, K, F, V = 2, 5, 16, 4, 8, 24, 37
SIZES = {"b": B, "t": T, "d": D, "h": H, "k": K, "f": F, "v": V}
SPECS = [
  "btd,dhk->bthk", "bthk,hkd->btd", "btd,df->btf", "btf,fd->btd", "btd,dv->btv",
]  # fmt: skip


def normal(letters, seed):
  rng = np.random.default_rng(seed)
  # Channels and tokens of very different size, so that a scale on a wrong axis shows.
  array = rng.standard_normal([SIZES[c] for c in letters])
  return (array * np.exp(rng.standard_normal(array.shape[-1]))).astype(np.float32)


def rounded(array, axes):
  """Values in -127 … 127, and the scale that gives the array back."""
  scale = np.abs(array).max(axis=axes, keepdims=True) / np.float32(127)
  return np.rint(array / scale).astype(np.int64), scale


@functools.cache
def quantised(letters):
  names = letters.replace("dv", "vd")
  array = normal(names, 1)
  inputs = {"dhk": "d", "hkd": "hk", "df": "d", "fd": "f", "vd": "d"}[names]
  weight = Weight(None, tuple(names), inputs=inputs, int8=True)
  return array, quantise({"w": array}, {"w": weight})["w"]


@pytest.mark.parametrize("spec", SPECS)
def test_a_product_is_one_of_whole_numbers_times_its_scales(spec):
  inputs, letters = spec.partition("->")[0].split(",")
  outputs = spec.partition("->")[2]
  array, w = quantised(letters)
  assert w.values.dtype == jnp.int8
  if letters == "dv":
    array = array.T
  summed = [c for c in inputs if c not in outputs]
  values, scale = rounded(array, tuple(letters.index(c) for c in summed))
  np.testing.assert_array_equal(w.values, values)
  np.testing.assert_allclose(w.scale, scale, rtol=1e-6)
  x = normal(inputs, 2) * np.array([1.0, 50.0], np.float32).reshape(
    -1, *[1] * (len(inputs) - 1)
  )
  x_values, x_scale = rounded(x, tuple(inputs.index(c) for c in summed))
  wanted = np.einsum(spec, x_values, values) * np.einsum(spec, x_scale, scale)
  found = einsum(spec, jnp.asarray(x), w)
  np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
  # And near the product that was meant: each factor is half a step off at most.
  error = np.abs(found - np.einsum(spec, x, array)).max()
  assert 0 < error < 0.03 * np.abs(wanted).max()


@pytest.mark.parametrize("spec", SPECS)
def test_a_token_alone_gives_what_it_gives_among_others(spec):
  inputs, letters = spec.partition("->")[0].split(",")
  _, w = quantised(letters)
  x = jnp.asarray(normal(inputs, 3))
  together = einsum(spec, x, w)
  alone = einsum(spec, x[1:2, 3:4], w)
  assert alone.shape == (1, 1, *together.shape[2:])
  np.testing.assert_array_equal(alone, together[1:2, 3:4])


def test_a_token_of_zeros_gives_zeros():
  _, w = quantised("df")
  np.testing.assert_array_equal(einsum("btd,df->btf", jnp.zeros((B, T, D)), w), 0.0)
  values, scale = int8.rounded(jnp.zeros((B, D)), (1,))
  assert not values.any() and (scale > 0).all()


@functools.cache
def model():
  module = Transformer(layers=3, d_model=D, d_ff=F, heads=H).module(V)
  one = Tokens(*(np.ones((1, 2), np.int32),) * 3)
  boxed = module.init(jax.random.key(3), Pairs(one, one))["params"]
  params = jax.tree.map(lambda leaf: leaf * 2.0, nn.unbox(boxed))
  return module, params, quantise(params, boxed)


def test_every_matrix_of_the_model_is_in_8_bits_and_nothing_else():
  _, params, small = model()
  flat, _ = jax.tree.flatten_with_path(params)
  for path, leaf in flat:
    found = functools.reduce(lambda tree, key: tree[key.key], path, small)
    matrix = not any(word in str(path) for word in ("bias", "scale", "norm"))
    assert isinstance(found, Int8) == matrix, path
    if not matrix:
      np.testing.assert_array_equal(found, leaf)
  assert sum(leaf.dtype == jnp.int8 for leaf in jax.tree.leaves(small)) > 10


@pytest.mark.slow
def test_the_model_in_8_bits_is_nearly_the_model():
  module, params, small = model()
  rng = np.random.default_rng(0)
  id_bt = rng.integers(4, V, (B, T)).astype(np.int32)
  tokens = Tokens(
    id_bt, np.broadcast_to(np.arange(T, dtype=np.int32), (B, T)), np.ones_like(id_bt)
  )
  batch = Pairs(tokens, tokens)
  wanted = module.apply({"params": params}, batch)
  found = module.apply({"params": small}, batch)
  assert found.dtype == jnp.float32
  gap = float(jnp.abs(found - wanted).max())
  assert 0 < gap < 0.1 * float(jnp.abs(wanted).max())


def test_an_embedding_is_looked_up_in_its_own_scale():
  from transformer.layers.embedding import Embedding

  table_vd, small = quantised("dv")
  id_bt = jnp.asarray([[3, 36, 0], [11, 5, 7]])
  embedding = Embedding(V, D)
  x_btd = embedding.apply({"params": {"table": small}}, id_bt)
  wanted_btd = table_vd[np.asarray(id_bt)] * D**0.5
  step = np.abs(table_vd).max(axis=1)[np.asarray(id_bt)][..., None] / 127 * D**0.5
  assert x_btd.shape == (2, 3, D)
  assert (np.abs(x_btd - wanted_btd) <= 0.501 * step).all()


@pytest.mark.slow
def test_int8_outputs_do_not_depend_on_the_batch():
  module, _, small = model()
  rng = np.random.default_rng(1)
  sources = [
    np.append(rng.integers(4, V, n), EOS).astype(np.int32) for n in (3, 9, 5, 14, 6)
  ]
  for beam in (1, 3):
    searcher = Searcher(module, small, Search(beam=beam, extra=4))
    together = dict(searcher.outputs(sources))
    for i in (0, 3):
      ((_, alone),) = searcher.outputs([sources[i]])
      n = np.count_nonzero(alone)
      np.testing.assert_array_equal(together[i][:n], alone[:n])
      assert not together[i][n:].any()
