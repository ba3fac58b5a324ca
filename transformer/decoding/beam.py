"""Beam search with a stopping rule that loses nothing."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from transformer.batch import BOS, EOS, PAD
from transformer.decoding.constraint import Constraint
from transformer.decoding.penalty import Gnmt, LengthPenalty
from transformer.decoding.state import DecodeState, Output, reorder, widen


class _Beam(NamedTuple):
  t: jax.Array  # tokens produced so far
  live_bwt: jax.Array  # tokens of the hypotheses not finished, best first
  live_gain_bwt: jax.Array  # their tokens' log-probabilities
  live_bw: jax.Array  # sums of those; -inf where there is no hypothesis
  found_bwt: jax.Array  # finished hypotheses, best score first
  found_gain_bwt: jax.Array
  found_bw: jax.Array  # sums
  found_score_bw: jax.Array  # sums under the length penalty; -inf where there is none
  done_b: jax.Array  # nothing that follows can change the sentence's `n_best`
  state: DecodeState


def beam_search(
  step: Callable,
  state: DecodeState,
  constraint: Constraint,
  capacity: int,
  beam: int,
  penalty: LengthPenalty = Gnmt(),
  n_best: int = 1,
) -> Output:
  """The best outputs of every sentence under a length penalty (§6.1).

  At every step each of the `beam` live hypotheses may end, and the `beam` best of all
  their other continuations live on. Live and finished hypotheses are kept apart, and
  finished ones are not scored again. A sentence is done when its `n_best`-th finished
  hypothesis scores at least what any live one can still reach (`LengthPenalty.bound`):
  so stopping early never changes the answer, and with one live hypothesis the answer
  scores no less than greedy's, whose every prefix is searched too.

  Args:
    step: `step(token_bw, state) -> (logits_bwv, state)`.
    state: with one hypothesis a sentence; only its cache is widened and reordered.
    constraint: limits per sentence.
    capacity: the most tokens any sentence may take, `EOS` counted (static).
    beam: live hypotheses a sentence, `w`.
    penalty: how lengths compare.
    n_best: how many of the `beam` finished hypotheses must be right; those after are
      what happened to be found.

  Returns:
    `beam` hypotheses a sentence. Equal scores stand in the order in which they were
    found, and among continuations the lower hypothesis and the lower id go first.
  """
  if not 1 <= n_best <= beam:
    raise ValueError(f"n_best: {n_best} is not between 1 and the beam's {beam}")
  b, w = constraint.max_length_b.shape[0], beam
  longest_b = constraint.max_length_b + 1

  def going(s: _Beam):
    return (s.t < capacity) & ~jnp.all(s.done_b)

  def advance(s: _Beam):
    last_bw = jnp.where(s.t == 0, BOS, s.live_bwt[:, :, jnp.maximum(s.t - 1, 0)])
    logits_bwv, state = step(last_bw, s.state)
    gain_bwv = constraint.logprobs(logits_bwv, s.t)
    v = gain_bwv.shape[-1]

    end_gain_bw = gain_bwv[:, :, EOS]
    end_bw = s.live_bw + end_gain_bw
    ended = (
      _put(s.live_bwt, jnp.full((b, w), EOS, jnp.int32), s.t),
      _put(s.live_gain_bwt, end_gain_bw, s.t),
      end_bw,
      penalty.score(end_bw, s.t + 1),
    )
    kept = (s.found_bwt, s.found_gain_bwt, s.found_bw, s.found_score_bw)
    both = jax.tree.map(lambda x, y: jnp.concatenate([x, y], axis=1), kept, ended)
    _, order_bw = jax.lax.top_k(both[3], w)
    found = _take(both, order_bw)
    frozen_b = s.done_b
    found = jax.tree.map(lambda new, old: _where(frozen_b, old, new), found, kept)

    onward_bwv = gain_bwv.at[:, :, EOS].set(-jnp.inf)
    total_bn = (s.live_bw[:, :, None] + onward_bwv).reshape(b, w * v)
    live_bw, place_bw = jax.lax.top_k(total_bn, w)
    parent_bw, token_bw = place_bw // v, place_bw % v
    gain_bw = jnp.take_along_axis(onward_bwv.reshape(b, w * v), place_bw, axis=1)
    token_bwt, gain_bwt = _take((s.live_bwt, s.live_gain_bwt), parent_bw)
    if w > 1:
      state = reorder(state, parent_bw)

    reach_bw = penalty.bound(live_bw, s.t + 1, longest_b[:, None])
    settled_b = found[3][:, n_best - 1] >= jnp.max(reach_bw, axis=1)
    over_b = s.t + 1 >= longest_b
    return _Beam(
      s.t + 1,
      _put(token_bwt, token_bw.astype(jnp.int32), s.t),
      _put(gain_bwt, gain_bw, s.t),
      live_bw,
      *found,
      s.done_b | settled_b | over_b,
      state,
    )

  none_bw = jnp.full((b, w), -jnp.inf)
  tokens_bwt = jnp.full((b, w, capacity), PAD, jnp.int32)
  gains_bwt = jnp.zeros((b, w, capacity), jnp.float32)
  start = _Beam(
    jnp.zeros((), jnp.int32),
    tokens_bwt,
    gains_bwt,
    none_bw.at[:, 0].set(0.0),
    tokens_bwt,
    gains_bwt,
    none_bw,
    none_bw,
    constraint.max_length_b <= 0,
    widen(state, w),
  )
  end = jax.lax.while_loop(going, advance, start)
  real_bw = end.found_score_bw > -jnp.inf
  token_bwt = jnp.where(real_bw[:, :, None], end.found_bwt, PAD)
  gain_bwt = jnp.where(real_bw[:, :, None], end.found_gain_bwt, 0.0)
  length_bw = jnp.sum(token_bwt != PAD, axis=-1)
  return Output(token_bwt, end.found_score_bw, end.found_bw, gain_bwt, length_bw)


def _put(array_bwt, value_bw, t):
  return jax.lax.dynamic_update_index_in_dim(array_bwt, value_bw, t, 2)


def _take(tree, order_bw):
  return jax.tree.map(lambda leaf: jax.vmap(lambda x, i: x[i])(leaf, order_bw), tree)


def _where(choose_b, yes, no):
  return jnp.where(choose_b.reshape(-1, *(1,) * (yes.ndim - 1)), yes, no)
