"""One hypothesis a sentence: greedy, or drawn at random."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from transformer.batch import BOS, EOS, PAD
from transformer.decoding.constraint import Constraint
from transformer.decoding.state import DecodeState, Output


@dataclasses.dataclass(frozen=True)
class Sampler:
  """The most probable token (greedy)."""

  def __call__(self, key_b, logprob_bv):
    """One token for every sentence; -inf is never chosen."""
    return jnp.argmax(logprob_bv, axis=-1)


@dataclasses.dataclass(frozen=True)
class Temperature(Sampler):
  """Draws from softmax(logprob / temperature), cut as subclasses say."""

  temperature: float = 1.0

  def __post_init__(self):
    if not self.temperature > 0:
      raise ValueError(f"temperature: {self.temperature} is not above 0")

  def cut(self, logprob_bv):
    """-inf for every token that must not be drawn."""
    return logprob_bv

  def __call__(self, key_b, logprob_bv):
    logprob_bv = self.cut(logprob_bv / self.temperature)
    return jax.vmap(jax.random.categorical)(key_b, logprob_bv)


@dataclasses.dataclass(frozen=True)
class TopK(Temperature):
  """Only the `k` most probable (Fan et al. 2018)."""

  k: int = 50

  def cut(self, logprob_bv):
    k = min(self.k, logprob_bv.shape[-1])
    least_b = jax.lax.top_k(logprob_bv, k)[0][:, -1]
    return jnp.where(logprob_bv >= least_b[:, None], logprob_bv, -jnp.inf)


@dataclasses.dataclass(frozen=True)
class TopP(Temperature):
  """The fewest most probable tokens that have `p` of the probability together
  (Holtzman et al. 2020)."""

  p: float = 0.9

  def cut(self, logprob_bv):
    probability_bv = jax.nn.softmax(logprob_bv, axis=-1)
    sorted_bv = -jnp.sort(-probability_bv, axis=-1)
    before_bv = jnp.cumsum(sorted_bv, axis=-1) - sorted_bv
    last_b = jnp.sum(before_bv < self.p, axis=-1) - 1
    least_bv = jnp.take_along_axis(sorted_bv, last_b[:, None], axis=-1)
    return jnp.where(probability_bv >= least_bv, logprob_bv, -jnp.inf)


@dataclasses.dataclass(frozen=True)
class MinP(Temperature):
  """Tokens at least `p` times as probable as the best (Nguyen et al. 2024)."""

  p: float = 0.1

  def cut(self, logprob_bv):
    best_bv = jnp.max(logprob_bv, axis=-1, keepdims=True)
    return jnp.where(logprob_bv >= best_bv + jnp.log(self.p), logprob_bv, -jnp.inf)


def generate(
  step: Callable,
  state: DecodeState,
  sampler: Sampler,
  constraint: Constraint,
  capacity: int,
  key=None,
  seed_b=None,
) -> Output:
  """Generates one output a sentence until all are done.

  Args:
    step: `step(token_bw, state) -> (logits_bwv, state)`.
    state: with one hypothesis a sentence.
    sampler: chooses each token.
    constraint: limits per sentence.
    capacity: the most tokens any sentence may take, `EOS` counted (static).
    key, seed_b: what a random sampler draws for a sentence follows from the key, the
      sentence's seed and the place of the token, never from its company.
  """
  b = constraint.max_length_b.shape[0]
  if key is None:
    key = jax.random.key(0)
  seed_b = jnp.arange(b) if seed_b is None else seed_b
  key_b = jax.vmap(lambda seed: jax.random.fold_in(key, seed))(seed_b)

  def going(carry):
    t, _, _, _, done_b, _ = carry
    return (t < capacity) & ~jnp.all(done_b)

  def advance(carry):
    t, last_b, token_bt, logprob_bt, done_b, state = carry
    logits_bwv, state = step(last_b[:, None], state)
    choice_bv = constraint.logprobs(logits_bwv, t)[:, 0]
    drawn_b = jax.vmap(lambda k: jax.random.fold_in(k, t))(key_b)
    next_b = sampler(drawn_b, choice_bv).astype(jnp.int32)
    gain_b = jnp.take_along_axis(choice_bv, next_b[:, None], axis=-1)[:, 0]
    next_b = jnp.where(done_b, PAD, next_b)
    token_bt = jax.lax.dynamic_update_index_in_dim(token_bt, next_b, t, 1)
    gain_b = jnp.where(done_b, 0.0, gain_b)
    logprob_bt = jax.lax.dynamic_update_index_in_dim(logprob_bt, gain_b, t, 1)
    return t + 1, next_b, token_bt, logprob_bt, done_b | (next_b == EOS), state

  start = (
    jnp.zeros((), jnp.int32),
    jnp.full((b,), BOS, jnp.int32),
    jnp.full((b, capacity), PAD, jnp.int32),
    jnp.zeros((b, capacity), jnp.float32),
    constraint.max_length_b <= 0,
    state,
  )
  _, _, token_bt, logprob_bt, _, _ = jax.lax.while_loop(going, advance, start)
  logprob_b = jnp.sum(logprob_bt, axis=-1)
  return Output(
    token_bt[:, None],
    logprob_b[:, None],
    logprob_b[:, None],
    logprob_bt[:, None],
    jnp.sum(token_bt != PAD, axis=-1)[:, None],
  )
