"""The key/value cache of a beam: the worked example of `KVCache`, step by step."""

import jax.numpy as jnp
import numpy as np

from transformer.decoding.state import KVCache, reorder, written_slots

A, B, C, D, E, F = range(1, 7)


def test_origins_find_the_tokens_of_every_hypothesis():
  cache = KVCache.zeros(1, 1, 1, 1, 3, jnp.float32).repeat(2)
  origin_bws = jnp.full((1, 2, 3), -1, jnp.int32)
  for step, (written, parents) in enumerate(
    [((A, B), (0, 0)), ((C, D), (1, 0)), ((E, F), (0, 1))]
  ):
    token_bwhk = jnp.array(written, jnp.float32).reshape(1, 2, 1, 1)
    cache = cache.write(token_bwhk, 10 * token_bwhk, step)
    origin_bws = written_slots(origin_bws, step)
    cache, origin_bws = reorder((cache, origin_bws), jnp.array([parents]))
  np.testing.assert_array_equal(origin_bws, [[[0, 1, 0], [0, 0, 1]]])
  k_bshk, v_bshk = cache.keys_and_values()
  np.testing.assert_array_equal(k_bshk[0, :, 0, 0], [A, B, C, D, E, F])
  np.testing.assert_array_equal(v_bshk, 10 * k_bshk)
  mask_bwsw = origin_bws[:, :, :, None] == jnp.arange(2)[None, None, None, :]
  first, second = np.asarray(mask_bwsw.reshape(2, 6))
  assert np.flatnonzero(first).tolist() == [0, 3, 4]
  assert np.flatnonzero(second).tolist() == [0, 2, 5]
  assert k_bshk[0, first, 0, 0].tolist() == [A, D, E]
  assert k_bshk[0, second, 0, 0].tolist() == [A, C, F]


def test_a_grown_cache_keeps_what_is_written():
  cache = KVCache.zeros(2, 3, 4, 5, 2, jnp.float32).repeat(2)
  new = jnp.ones((2, 2, 3, 4)), jnp.ones((2, 2, 3, 5))
  grown = cache.write(*new, 1).resize(7)
  assert (grown.steps, grown.slots) == (7, 2)
  keys, values = grown.keys_and_values()
  for array in (keys, values):
    written_s = np.asarray(array).any(axis=(0, 2, 3))
    assert np.flatnonzero(written_s).tolist() == [2, 3]
