"""Candidates found by blocks are those that sorting everything finds."""

import jax
import numpy as np
import pytest

from transformer.decoding.candidates import BLOCK, best, candidates
from transformer.decoding.constraint import log_normalizer

B, W, V = 5, 3, 2 * BLOCK + 37


def logits(kind, rng):
  """Float32 `[b, w, v]`: all different, with many equals, or mostly forbidden."""
  if kind == "equals":
    return rng.geometric(0.3, (B, W, V)).astype(np.float32)
  logits_bwv = rng.normal(size=(B, W, V)).astype(np.float32)
  if kind == "forbidden":
    logits_bwv[rng.random((B, W, V)) < 0.99] = -np.inf
    logits_bwv[:, :, 7] = 0.5
  return logits_bwv


kinds = pytest.mark.parametrize("kind", ["different", "equals", "forbidden"])


@kinds
def test_best_is_argmax_and_the_lowest_among_equals(kind):
  logits_bv = logits(kind, np.random.default_rng(0))[:, 0]
  logits_bv[1, -1] = logits_bv[2, BLOCK] = 9.0
  logits_bv[3] = -np.inf
  assert jax.jit(best)(logits_bv).tolist() == np.argmax(logits_bv, axis=-1).tolist()


@kinds
@pytest.mark.parametrize("greedy", [True, False])
def test_candidates_are_those_of_a_full_sort(kind, greedy):
  rng = np.random.default_rng(1)
  logits_bwv = logits(kind, rng)
  logits_bwv[2, 1, -1] = 40.0
  # Whole numbers keep equals equal; hypothesis 0 is so bad that greedy's is not near.
  logprob_bw = -rng.integers(0, 3, (B, W)).astype(np.float32)
  logprob_bw[:, 0] -= 50.0
  logprob_bw[4, 2] = -np.inf
  greedy_b = np.array([greedy, False, greedy, True, False])
  most_bw, log_bw = (np.asarray(array) for array in log_normalizer(logits_bwv))
  found = jax.jit(candidates, static_argnums=4)(
    logits_bwv, (most_bw, log_bw), logprob_bw, greedy_b, 2 * W
  )
  place_bn, id_bn, token_logprob_bn, sum_bn = (np.asarray(array) for array in found)

  token_logprob_bwv = (logits_bwv - most_bw[:, :, None]) - log_bw[:, :, None]
  sum_bwv = logprob_bw[:, :, None] + token_logprob_bwv
  for b in range(B):
    order = list(np.argsort(-sum_bwv[b].ravel(), kind="stable"))
    if greedy_b[b]:
      first = int(np.argmax(logits_bwv[b, 0]))
      order.remove(first)
      order.insert(0, first)
    place_n, id_n = np.divmod(order[: 2 * W], V)
    np.testing.assert_array_equal(sum_bn[b], sum_bwv[b, place_n, id_n])
    real_n = sum_bn[b] > -np.inf
    assert real_n[0]
    np.testing.assert_array_equal(place_bn[b, real_n], place_n[real_n])
    np.testing.assert_array_equal(id_bn[b, real_n], id_n[real_n])
    np.testing.assert_array_equal(
      token_logprob_bn[b, real_n], token_logprob_bwv[b, place_n, id_n][real_n]
    )
