"""Sampling and greedy search: one token at a time, without a beam."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from transformer.batch import BOS, EOS, PAD
from transformer.decoding.candidates import best
from transformer.decoding.constraint import Constraint, normalise
from transformer.decoding.state import (
  DecodeState,
  Output,
  grow_while,
  last_token,
  repeat,
  write_token,
)


@dataclasses.dataclass(frozen=True)
class Sampler:
  """Greedy: the most probable token, the lowest id in a tie."""

  def __call__(self, key_b, logits_bv):
    """One token id for every row. A logit of -inf is never chosen."""
    return best(logits_bv)


class _Random(Sampler):
  """Draws from softmax(logits / temperature) over the tokens that `cut` leaves.

  Each row has its own key. Subclasses have the field `temperature` after their own, so
  that `TopP(0.9)` means p = 0.9.

  Attributes:
    temperature: divides the logits; below 1 it favours the probable tokens.
  """

  temperature: float

  def __post_init__(self):
    if not 0 < self.temperature < float("inf"):
      raise ValueError(
        f"temperature: expected a positive number, got {self.temperature}; "
        "for greedy search use Sampler()"
      )

  def cut(self, logits_bv):
    """The logits (divided by the temperature) with -inf for tokens not to be drawn."""
    return logits_bv

  def __call__(self, key_b, logits_bv):
    return jax.vmap(jax.random.categorical)(
      key_b, self.cut(logits_bv / self.temperature)
    )


@dataclasses.dataclass(frozen=True)
class Temperature(_Random):
  """Any token; a temperature below 1 favours the probable ones."""

  temperature: float = 1.0


@dataclasses.dataclass(frozen=True)
class TopK(_Random):
  """The `k` most probable tokens (Fan et al. 2018), and those tied with the last.

  Attributes:
    k: how many tokens are kept.
  """

  k: int = 50
  temperature: float = 1.0

  def __post_init__(self):
    super().__post_init__()
    if self.k < 1:
      raise ValueError(f"k: expected 1 or more, got {self.k}")

  def cut(self, logits_bv):
    best_bk, _ = jax.lax.top_k(logits_bv, min(self.k, logits_bv.shape[-1]))
    return jnp.where(logits_bv >= best_bk[:, -1:], logits_bv, -jnp.inf)


@dataclasses.dataclass(frozen=True)
class TopP(_Random):
  """The smallest set of most probable tokens whose probabilities add up to `p` or more
  (nucleus sampling, Holtzman et al. 2020), and those tied with the last.

  Attributes:
    p: the probability that the kept tokens add up to.
  """

  p: float = 0.9
  temperature: float = 1.0

  def __post_init__(self):
    super().__post_init__()
    if not 0 < self.p <= 1:
      raise ValueError(f"p: expected above 0 and at most 1, got {self.p}")

  def cut(self, logits_bv):
    # Sorting a vocabulary is expensive. Non-negative floats have the order of their
    # bits, so a bisection of 30 steps finds the largest threshold that leaves enough.
    probability_bv = jax.nn.softmax(logits_bv, axis=-1)
    bits_bv = jax.lax.bitcast_convert_type(probability_bv, jnp.int32)

    def halve(_, ends):
      low_b, high_b = ends
      middle_b = (low_b + high_b) // 2
      left_bv = jnp.where(bits_bv >= middle_b[:, None], probability_bv, 0.0)
      enough_b = jnp.sum(left_bv, axis=-1) >= self.p
      return jnp.where(enough_b, middle_b, low_b), jnp.where(enough_b, high_b, middle_b)

    one = 0x3F800000  # the bits of 1.0; a threshold of 0 leaves all tokens
    low_b = jnp.zeros(logits_bv.shape[:1], jnp.int32)
    least_b, _ = jax.lax.fori_loop(0, 30, halve, (low_b, low_b + one + 1))
    return jnp.where(bits_bv >= least_b[:, None], logits_bv, -jnp.inf)


@dataclasses.dataclass(frozen=True)
class MinP(_Random):
  """Tokens at least `p` times as probable as the most probable (Nguyen et al. 2024).

  Attributes:
    p: the smallest probability that is kept, as a share of the largest.
  """

  p: float = 0.1
  temperature: float = 1.0

  def __post_init__(self):
    super().__post_init__()
    if not 0 <= self.p <= 1:
      raise ValueError(f"p: expected 0 to 1, got {self.p}")

  def cut(self, logits_bv):
    least_b1 = jnp.max(logits_bv, axis=-1, keepdims=True) + jnp.log(self.p)
    return jnp.where(logits_bv >= least_b1, logits_bv, -jnp.inf)


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
