"""The best continuations among `w` hypotheses times a vocabulary, read few times.

Sorting a vocabulary is dear, and so is an argmax that carries an index through it; the
maxima of blocks of ids are cheap. The best n continuations lie in the n best blocks,
as every block before another holds something that goes before all of that other.
"""

import jax
import jax.numpy as jnp

BLOCK = 128
"""Ids in a block."""


def block_maxima(logits_bwv):
  """The largest logit of every block of ids, `[b, w, i]`; the last may be short."""
  v = logits_bwv.shape[-1]
  whole = v // BLOCK * BLOCK
  blocks = logits_bwv[..., :whole].reshape(*logits_bwv.shape[:2], -1, BLOCK)
  most_bwi = jnp.max(blocks, axis=-1)
  if whole == v:
    return most_bwi
  rest_bw = jnp.max(logits_bwv[..., whole:], axis=-1)
  return jnp.concatenate([most_bwi, rest_bw[..., None]], axis=-1)


def block_members(logits_bwv, place_bn, block_bn):
  """Logits and ids `[b, n, j]` of all members of blocks of the hypotheses at the given
  places; -inf where a last block has no more."""
  v = logits_bwv.shape[-1]
  id_bnj = block_bn[:, :, None] * BLOCK + jnp.arange(min(BLOCK, v))[None, None]
  row_b, exists_bnj = jnp.arange(block_bn.shape[0]), id_bnj < v
  id_bnj = jnp.minimum(id_bnj, v - 1)
  found_bnj = logits_bwv[row_b[:, None, None], place_bn[:, :, None], id_bnj]
  return jnp.where(exists_bnj, found_bnj, -jnp.inf), id_bnj


def best(logits_bv):
  """The id of every row's largest logit, `[b]`; the lowest among equals."""
  logits_bwv = logits_bv[:, None]
  block_bn = jnp.argmax(block_maxima(logits_bwv), axis=-1)
  found_bnj, id_bnj = block_members(logits_bwv, jnp.zeros_like(block_bn), block_bn)
  place_bn = jnp.argmax(found_bnj, axis=-1)
  return jnp.take_along_axis(id_bnj[:, 0], place_bn, axis=1)[:, 0]


def candidates(logits_bwv, partition, logprob_bw, greedy_b, n: int):
  """The best `n` continuations of every sentence, best first; equals stand by the place
  of their hypothesis, then by id.

  Args:
    logits_bwv: float32, -inf where a token may not be.
    partition: `constraint.partition` of all logits.
    logprob_bw: of the hypotheses so far.
    greedy_b: where the likeliest continuation of hypothesis 0 goes before all others.
    n: how many.

  Returns:
    `(place_bn, id_bn, token_logprob_bn, sum_bn)`: the hypothesis, its next token, the
    log-probability of this token, and of the whole.
  """
  b, w, _ = logits_bwv.shape
  row_b, ahead_b = jnp.arange(b), jnp.where(greedy_b, jnp.inf, -jnp.inf)
  most_bwi = block_maxima(logits_bwv)
  i = most_bwi.shape[2]
  first_b = jnp.argmax(most_bwi[:, 0], axis=-1)
  most_bw, log_bw = partition

  # Rounding never puts two log-probabilities out of the order of their logits.
  token_logprob_bwi = (most_bwi - most_bw[:, :, None]) - log_bw[:, :, None]
  sum_bm = (logprob_bw[:, :, None] + token_logprob_bwi).reshape(b, w * i)
  sum_bm = sum_bm.at[row_b, first_b].max(ahead_b)
  _, chosen_bm = jax.lax.top_k(sum_bm, min(n, w * i))
  chosen_bm = jnp.sort(chosen_bm, axis=1)
  place_bm, block_bm = chosen_bm // i, chosen_bm % i

  logit_bmj, id_bmj = block_members(logits_bwv, place_bm, block_bm)
  greedy_bm = chosen_bm == first_b[:, None]
  own_bmj = jnp.where(greedy_bm[:, :, None], logit_bmj, -jnp.inf)

  def at_place(array_bw):
    return jnp.take_along_axis(array_bw, place_bm, axis=1)[:, :, None]

  token_logprob_bmj = (logit_bmj - at_place(most_bw)) - at_place(log_bw)
  sum_bmj = at_place(logprob_bw) + token_logprob_bmj
  rank_bn = sum_bmj.reshape(b, -1)
  own_b = jnp.argmax(own_bmj.reshape(b, -1), axis=1)
  _, order_bn = jax.lax.top_k(rank_bn.at[row_b, own_b].max(ahead_b), n)

  def chosen(array_bmj):
    return jnp.take_along_axis(array_bmj.reshape(b, -1), order_bn, axis=1)

  place_bn = jnp.take_along_axis(place_bm, order_bn // logit_bmj.shape[2], axis=1)
  return place_bn, chosen(id_bmj), chosen(token_logprob_bmj), chosen(sum_bmj)
