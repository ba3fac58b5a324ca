"""Penalties: how log-probabilities of outputs of different lengths compare, and what
an output loses that leaves words of its source untranslated."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class LengthPenalty:
  """None: the score is the log-probability.

  A member says what the log-probability of `n` tokens is divided by. `n` counts every
  token of the output, `EOS` too (and a forced prefix), so it is never 0. The divisor
  must be positive and monotone in `n`, rising or falling: then `bound` holds.
  """

  needs_attention: ClassVar[bool] = False
  """Whether the score takes in what of the source was attended to."""

  def divisor(self, n):
    """What the log-probability of `n` tokens is divided by, float32."""
    return jnp.ones_like(n, jnp.float32)

  def normalise(self, logprob, n, coverage_s=None):
    """The score of a finished output of `n` tokens; `coverage_s` is, for one that
    watches, `DecodeState.coverage_bws` of its hypothesis, `[…, s]`."""
    return logprob / self.divisor(n)

  def bound(self, logprob, n, max_n):
    """The most that a hypothesis of `n` tokens, not finished, can still score.

    `max_n` is the largest number of tokens without `EOS`, so the finished output will
    have n' tokens with n + 1 <= n' <= max_n + 1. Let L <= 0 be `logprob`, L' its
    log-probability then, and D the largest divisor over these n'. More tokens only add
    log-probabilities <= 0: L' <= L. As L <= 0 and 0 < divisor(n') <= D,

        normalise(L', n') = L' / divisor(n') <= L / divisor(n') <= L / D.

    It remains to find D. No penalty: the divisor is 1, D = 1. `Average`: n' rises, so D
    is max_n + 1. `GNMT`: (5 + n') / 6 rises and is at least 1, so its power rises for
    alpha >= 0, D at max_n + 1, and falls for alpha < 0, D at n + 1. All are monotone,
    so D is the larger of the divisors at the two ends. The bound is met where all
    tokens to come have probability 1. Rounding keeps it: sums with terms <= 0 and
    quotients are rounded monotonically.
    """
    ends = self.divisor(n + 1), self.divisor(jnp.maximum(max_n, n) + 1)
    return logprob / jnp.maximum(*ends)


@dataclasses.dataclass(frozen=True)
class GNMT(LengthPenalty):
  """((5 + n) / 6)^alpha (Wu et al. 2016, eq. 14); the paper takes alpha 0.6 (§6.1).

  A larger alpha favours longer outputs; 0 is no penalty.
  """

  alpha: float = 0.6

  def divisor(self, n):
    return ((5.0 + jnp.asarray(n, jnp.float32)) / 6.0) ** self.alpha


@dataclasses.dataclass(frozen=True)
class Average(LengthPenalty):
  """n: the score is the mean log-probability of a token."""

  def divisor(self, n):
    return jnp.asarray(n, jnp.float32)


@dataclasses.dataclass(frozen=True)
class Coverage(LengthPenalty):
  """The score under `length`, plus beta times the sum over source tokens (EOS counted)
  of log min(1, a), a the attention that the token got from the whole output (Wu et al.
  2016, eq. 14, who take beta 0.2 and alpha 0.2).

  The sum is at most 0, so the bound of `length` holds here too.
  """

  beta: float = 0.2
  length: LengthPenalty = GNMT(0.2)

  needs_attention: ClassVar[bool] = True

  def __post_init__(self):
    if self.beta < 0:
      raise ValueError(f"beta: {self.beta} is negative")
    if self.length.needs_attention:
      raise ValueError(f"length: {self.length} is no penalty of lengths alone")

  def divisor(self, n):
    return self.length.divisor(n)

  def normalise(self, logprob, n, coverage_s=None):
    # Attention that is 0 in float32 still leaves a number.
    share_s = jnp.clip(coverage_s, jnp.finfo(jnp.float32).tiny, 1.0)
    covered = self.beta * jnp.sum(jnp.log(share_s), axis=-1)
    return self.length.normalise(logprob, n) + covered
