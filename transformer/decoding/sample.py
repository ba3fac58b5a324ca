"""Sampling and greedy search: one token at a time, without a beam."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from transformer.batch import BOS, EOS, PAD
from transformer.decoding.constraint import Constraint, normalise
from transformer.decoding.samplers import Sampler
from transformer.decoding.state import (
  DecodeState,
  Output,
  grow_while,
  last_token,
  repeat,
  write_token,
)


class _Loop(NamedTuple):
  t: jax.Array  # tokens of every output that is not done
  token_bwt: jax.Array
  token_logprob_bwt: jax.Array  # log-probabilities of those
  sum_bw: jax.Array  # and their sums
  done_bw: jax.Array
  cache: Any


def generate(
  step: Callable,
  state: DecodeState,
  sampler: Sampler,
  constraint: Constraint,
  capacity: int,
  key=None,
  seed_b=None,
  samples: int = 1,
  start_id: int | jax.Array = BOS,
) -> Output:
  """Generates outputs one token at a time until all sentences are done.

  Args:
    step: `step(token_bw, state) -> (logits_bwv, state)` feeds every output one token,
      `start_id` first.
    state: with one hypothesis a sentence, before the first step.
    sampler: chooses each token.
    constraint: limits per sentence.
    capacity: the most tokens any sentence may take, `EOS` counted (static); a larger
      `max_length_b` is cut to it.
    key: of all randomness; `jax.random.key(0)` if not given.
    seed_b: integers, one a sentence, 0 if not given. Draws depend on the key, the seed
      of the sentence, the number of the sample and the position of the token, never on
      the rest of the batch.
    samples: outputs per sentence, `w`.
    start_id: the token before the first of an output, or one a sentence, `[b, 1]`.

  Returns:
    `samples` outputs a sentence, in the order drawn. Scores are log-probabilities under
    the model, before the sampler changes them.
  """
  constraint = constraint.within(capacity)
  b, w = constraint.max_length_b.shape[0], samples
  key = jax.random.key(0) if key is None else key
  seed_b = jnp.zeros((b,), jnp.int32) if seed_b is None else jnp.asarray(seed_b)
  seed_n, sample_n = jnp.repeat(seed_b, w), jnp.tile(jnp.arange(w), b)
  fold = jax.vmap(jax.random.fold_in, in_axes=(0, 0))
  key_n = fold(fold(jnp.broadcast_to(key, (b * w,)), seed_n), sample_n)

  def condition(s: _Loop):
    return (s.t < capacity) & ~jnp.all(s.done_bw)

  def advance(s: _Loop) -> _Loop:
    last_bw = last_token(s.token_bwt, s.t, start_id)
    now = DecodeState(s.cache, state.encoded, state.index + s.t)
    logits_bwv, (cache, *_) = step(last_bw, now)
    choice_bwv = constraint.restrict(logits_bwv, s.t)
    choice_nv = choice_bwv.reshape(b * w, -1)
    token_n = sampler(fold(key_n, jnp.broadcast_to(s.t, (b * w,))), choice_nv)
    token_bw = token_n.astype(jnp.int32).reshape(b, w)
    chosen_bwn = jnp.take_along_axis(choice_bwv, token_bw[:, :, None], axis=-1)
    token_logprob_bw = normalise(chosen_bwn, logits_bwv)[:, :, 0]
    token_bw = jnp.where(s.done_bw, PAD, token_bw)
    token_logprob_bw = jnp.where(s.done_bw, 0.0, token_logprob_bw)
    return _Loop(
      s.t + 1,
      write_token(s.token_bwt, token_bw, s.t),
      write_token(s.token_logprob_bwt, token_logprob_bw, s.t),
      s.sum_bw + token_logprob_bw,
      # No token was allowed: such an output does not exist.
      s.done_bw | (token_bw == EOS) | (token_logprob_bw == -jnp.inf),
      cache,
    )

  start = _Loop(
    jnp.zeros((), jnp.int32),
    jnp.full((b, w, capacity), PAD, jnp.int32),
    jnp.zeros((b, w, capacity), jnp.float32),
    jnp.zeros((b, w), jnp.float32),
    jnp.broadcast_to(constraint.max_length_b[:, None] <= 0, (b, w)),
    repeat(state.cache, w),
  )
  end = grow_while(condition, advance, start, capacity)
  real_bw = (constraint.max_length_b[:, None] > 0) & (end.sum_bw > -jnp.inf)
  token_bwt = jnp.where(real_bw[:, :, None], end.token_bwt, PAD)
  token_logprob_bwt = jnp.where(real_bw[:, :, None], end.token_logprob_bwt, 0.0)
  sum_bw = jnp.where(real_bw, end.sum_bw, -jnp.inf)
  length_bw = jnp.sum(token_bwt != PAD, axis=-1)
  return Output(token_bwt, sum_bw, sum_bw, token_logprob_bwt, length_bw)
