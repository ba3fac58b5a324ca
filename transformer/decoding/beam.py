"""Beam search whose early stopping never changes the best outputs."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from transformer.batch import BOS, EOS
from transformer.decoding.candidates import candidates
from transformer.decoding.constraint import Constraint, log_normalizer
from transformer.decoding.penalty import GNMT, LengthPenalty
from transformer.decoding.state import (
  DecodeState,
  Output,
  grow_while,
  last_token,
  nothing,
  reorder,
  repeat,
  write_token,
)


class Live(NamedTuple):
  """Hypotheses not finished; log-probability -inf where one does not exist."""

  token_bwt: jax.Array  # ids so far, then PAD
  token_logprob_bwt: jax.Array
  logprob_bw: jax.Array  # sums of those


class BeamState(NamedTuple):
  """The search after `t` steps."""

  t: jax.Array  # tokens that every live hypothesis has
  live: Live
  finished: Output  # the best finished hypotheses so far, best first
  greedy_b: jax.Array  # live hypothesis 0 is that of greedy search
  done_b: jax.Array  # no later step can change the sentence's `n_best`
  cache: Any
  coverage_bws: Any


class Expansion(NamedTuple):
  """What a step made of the live hypotheses; `n` are its candidates, best first."""

  logits_bwv: jax.Array  # of the next token of every live hypothesis
  parent_bn: jax.Array  # live hypothesis that a candidate continues
  id_bn: jax.Array
  token_logprob_bn: jax.Array
  logprob_bn: jax.Array  # -inf where a candidate does not exist
  score_bn: jax.Array  # of those that end, else -inf
  stay_bw: jax.Array  # the candidates that stay live


class BeamLoop(NamedTuple):
  """Beam search as a loop: `advance(s) -> (s, Expansion)` from `start`, while
  `condition(s)`."""

  condition: Callable
  advance: Callable
  start: BeamState


def beam_search(
  step: Callable,
  state: DecodeState,
  constraint: Constraint,
  capacity: int,
  beam: int,
  penalty: LengthPenalty = GNMT(),
  n_best: int = 1,
  start_id: int = BOS,
  given: int = 0,
) -> Output:
  """The best outputs of every sentence under a length penalty (§6.1).

  At every step the best 2w continuations of the w live hypotheses are candidates. Those
  that end in `EOS` are finished, and the best w of the others stay live; at most w can
  end, so there are always enough. (An `EOS` below these ranks is ignored: if every one
  counted, empty outputs would win more often, see Stahlberg and Byrne 2019.) Live and
  finished hypotheses are separate sets, and a finished one is scored once.

  The hypothesis of greedy search is never dropped: it takes the last beam slot where it
  would fall out of the beam. So the best score is at least that of greedy search, for
  every beam. A beam of 1 is greedy search that also considers every `EOS` on its path,
  and may therefore score higher.

  A sentence is done when its `n_best`-th finished hypothesis scores at least what any
  live one can still reach (`LengthPenalty.bound`); this never changes those `n_best`.
  If w is at least the number of prefixes of every length, the search is exhaustive.

  Args:
    step: `step(token_bw, state) -> (logits_bwv, state)` feeds every hypothesis one
      token, `start_id` first.
    state: with one hypothesis a sentence, before the first step.
    constraint: limits per sentence.
    capacity: the most tokens any sentence may take, `EOS` counted (static); a larger
      `max_length_b` is cut to it.
    beam: live hypotheses a sentence, `w`.
    penalty: how outputs compare; if it `needs_attention`, `state` must have
      `coverage_bws`.
    n_best: how many of the w returned hypotheses early stopping must not change; the
      others are the best that had been found by then.
    start_id: the token before the first of an output.
    given: how many tokens of the forced prefix are given, so that their probability
      does not count; every sentence has as many.

  Returns:
    w hypotheses a sentence, best first. Ties between candidates are broken by the rank
    of their hypothesis, then by the lower id; between finished hypotheses by the step
    at which they ended.
  """
  loop = beam_loop(
    step, state, constraint, capacity, beam, penalty, n_best, start_id, given
  )
  end = grow_while(loop.condition, lambda s: loop.advance(s)[0], loop.start, capacity)
  return end.finished


def beam_loop(
  step: Callable,
  state: DecodeState,
  constraint: Constraint,
  capacity: int,
  beam: int,
  penalty: LengthPenalty = GNMT(),
  n_best: int = 1,
  start_id: int = BOS,
  given: int = 0,
) -> BeamLoop:
  """The loop of `beam_search`, whose arguments it takes; also for looking at a search
  step by step (`inspection.search_tree`)."""
  if not 1 <= n_best <= beam:
    raise ValueError(f"n_best: expected 1 to the beam's {beam}, got {n_best}")
  constraint = constraint.within(capacity)
  b, w = constraint.max_length_b.shape[0], beam

  def condition(s: BeamState):
    return (s.t < capacity) & ~jnp.all(s.done_b)

  def advance(s: BeamState) -> tuple[BeamState, Expansion]:
    last_bw = last_token(s.live.token_bwt, s.t, start_id)
    now = DecodeState(s.cache, state.encoded, state.index + s.t, s.coverage_bws)
    logits_bwv, (cache, _, _, coverage_bws) = step(last_bw, now)
    # First among the candidates, the greedy hypothesis is also first among those that
    # stay live, until it ends.
    allowed_bwv = constraint.restrict(logits_bwv, s.t)
    parent_bn, id_bn, token_logprob_bn, sum_bn = candidates(
      allowed_bwv,
      _normalizer(allowed_bwv, logits_bwv, s.t, given),
      s.live.logprob_bw,
      s.greedy_b,
      2 * w,
    )
    ends_bn = id_bn == EOS
    token_bnt, token_logprob_bnt = reorder(
      (s.live.token_bwt, s.live.token_logprob_bwt), parent_bn
    )
    grown = Live(
      write_token(token_bnt, id_bn, s.t),
      write_token(token_logprob_bnt, token_logprob_bn, s.t),
      sum_bn,
    )

    coverage_bns = reorder(coverage_bws, parent_bn)
    ended = _finish(grown, ends_bn, s.t + 1, coverage_bns, penalty)
    finished = _best(w, s.finished, ended)
    finished = jax.tree.map(
      lambda old, new: _where(s.done_b, old, new), s.finished, finished
    )

    # The first w that do not end: top_k keeps the order of equal elements.
    _, stay_bw = jax.lax.top_k((~ends_bn).astype(jnp.int32), w)
    live = reorder(grown, stay_bw)
    coverage_bws = reorder(coverage_bns, stay_bw)
    if w > 1:
      cache = reorder(cache, jnp.take_along_axis(parent_bn, stay_bw, axis=1))

    reach_bw = penalty.bound(live.logprob_bw, s.t + 1, constraint.max_length_b[:, None])
    settled_b = finished.score_bw[:, n_best - 1] >= jnp.max(reach_bw, axis=1)
    greedy_b = s.greedy_b & ~ends_bn[:, 0]
    done_b = s.done_b | settled_b
    return (
      BeamState(s.t + 1, live, finished, greedy_b, done_b, cache, coverage_bws),
      Expansion(
        logits_bwv, parent_bn, id_bn, token_logprob_bn, sum_bn, ended.score_bw, stay_bw
      ),
    )

  finished = nothing(b, w, capacity)
  one_bw = finished.logprob_bw.at[:, 0].set(0.0)
  start = BeamState(
    t=jnp.zeros((), jnp.int32),
    live=Live(finished.token_bwt, finished.token_logprob_bwt, one_bw),
    finished=finished,
    greedy_b=jnp.ones((b,), bool),
    done_b=constraint.max_length_b <= 0,
    cache=repeat(state.cache, w),
    coverage_bws=repeat(state.coverage_bws, w),
  )
  return BeamLoop(condition, advance, start)


def _normalizer(allowed_bwv, logits_bwv, t, given: int):
  """That of the log-probabilities: of all tokens, or at the first `given` positions of
  the one that is allowed, whose log-probability is then 0."""
  if not given:
    return log_normalizer(logits_bwv)
  logits_bwv = logits_bwv.astype(jnp.float32)
  return jax.lax.cond(
    t < given, lambda: log_normalizer(allowed_bwv), lambda: log_normalizer(logits_bwv)
  )


def _finish(grown: Live, ends_bn, n, coverage_bns, penalty: LengthPenalty) -> Output:
  """Candidates of `n` tokens as outputs; those that do not end score -inf."""
  score_bn = penalty.normalise(grown.logprob_bw, n, coverage_bns)
  score_bn = jnp.where(ends_bn, score_bn, -jnp.inf)
  length_bn = jnp.full(ends_bn.shape, n, jnp.int32)
  return Output(
    grown.token_bwt, score_bn, grown.logprob_bw, grown.token_logprob_bwt, length_bn
  )


def _best(w: int, finished: Output, more: Output) -> Output:
  """The best `w` of two sets of outputs; in a tie those of `finished` come first, so
  that hypotheses that do not exist stay as `nothing` made them."""
  both = jax.tree.map(lambda x, y: jnp.concatenate([x, y], axis=1), finished, more)
  _, order_bw = jax.lax.top_k(both.score_bw, w)
  return reorder(both, order_bw)


def _where(choose_b, yes, no):
  return jnp.where(choose_b.reshape(-1, *(1,) * (yes.ndim - 1)), yes, no)
