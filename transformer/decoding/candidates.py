"""The best continuations of `w` hypotheses, with few passes over the vocabulary.

Sorting a vocabulary is expensive, and so is an argmax over it, which carries an index;
the maxima of blocks of ids are cheap. The best n continuations are all in the n blocks
with the largest maxima: each of these blocks has a continuation, its maximum, that is
better than everything in any other block.
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


def block_members(logits_bwv, slot_bn, block_bn):
  """Logits and ids `[b, n, j]` of all members of the blocks `block_bn` of hypotheses
  `slot_bn`; -inf beyond the end of a short last block."""
  v = logits_bwv.shape[-1]
  id_bnj = block_bn[:, :, None] * BLOCK + jnp.arange(min(BLOCK, v))[None, None]
  row_b, exists_bnj = jnp.arange(block_bn.shape[0]), id_bnj < v
  id_bnj = jnp.minimum(id_bnj, v - 1)
  found_bnj = logits_bwv[row_b[:, None, None], slot_bn[:, :, None], id_bnj]
  return jnp.where(exists_bnj, found_bnj, -jnp.inf), id_bnj


def best(logits_bv):
  """The id of every row's largest logit, `[b]`; the lowest id in a tie."""
  logits_bwv = logits_bv[:, None]
  block_bn = jnp.argmax(block_maxima(logits_bwv), axis=-1)
  found_bnj, id_bnj = block_members(logits_bwv, jnp.zeros_like(block_bn), block_bn)
  index_bn = jnp.argmax(found_bnj, axis=-1)
  return jnp.take_along_axis(id_bnj[:, 0], index_bn, axis=1)[:, 0]


def candidates(logits_bwv, log_normalizer, logprob_bw, greedy_b, n: int):
  """The best `n` continuations of every sentence, best first; ties are broken by the
  slot of the hypothesis, then by the id.

  Args:
    logits_bwv: float32, -inf where a token is not allowed.
    log_normalizer: `constraint.log_normalizer` of all logits.
    logprob_bw: of the hypotheses so far.
    greedy_b: where the most probable continuation of hypothesis 0 comes before all
      others.
    n: the number of continuations.

  Returns:
    `(slot_bn, id_bn, token_logprob_bn, sum_bn)`: the hypothesis, its next token, the
    log-probability of this token, and that of the hypothesis with it.
  """
  b, w, _ = logits_bwv.shape
  row_b, ahead_b = jnp.arange(b), jnp.where(greedy_b, jnp.inf, -jnp.inf)
  most_bwi = block_maxima(logits_bwv)
  i = most_bwi.shape[2]
  first_b = jnp.argmax(most_bwi[:, 0], axis=-1)
  most_bw, log_bw = log_normalizer

  # Rounding never changes the order of two log-probabilities from that of their logits.
  token_logprob_bwi = (most_bwi - most_bw[:, :, None]) - log_bw[:, :, None]
  sum_bm = (logprob_bw[:, :, None] + token_logprob_bwi).reshape(b, w * i)
  sum_bm = sum_bm.at[row_b, first_b].max(ahead_b)
  _, chosen_bm = jax.lax.top_k(sum_bm, min(n, w * i))
  chosen_bm = jnp.sort(chosen_bm, axis=1)
  slot_bm, block_bm = chosen_bm // i, chosen_bm % i

  logit_bmj, id_bmj = block_members(logits_bwv, slot_bm, block_bm)
  greedy_bm = chosen_bm == first_b[:, None]
  own_bmj = jnp.where(greedy_bm[:, :, None], logit_bmj, -jnp.inf)

  def at_slot(array_bw):
    return jnp.take_along_axis(array_bw, slot_bm, axis=1)[:, :, None]

  token_logprob_bmj = (logit_bmj - at_slot(most_bw)) - at_slot(log_bw)
  sum_bmj = at_slot(logprob_bw) + token_logprob_bmj
  rank_bn = sum_bmj.reshape(b, -1)
  own_b = jnp.argmax(own_bmj.reshape(b, -1), axis=1)
  _, order_bn = jax.lax.top_k(rank_bn.at[row_b, own_b].max(ahead_b), n)

  def chosen(array_bmj):
    return jnp.take_along_axis(array_bmj.reshape(b, -1), order_bn, axis=1)

  slot_bn = jnp.take_along_axis(slot_bm, order_bn // logit_bmj.shape[2], axis=1)
  return slot_bn, chosen(id_bmj), chosen(token_logprob_bmj), chosen(sum_bmj)
