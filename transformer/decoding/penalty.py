"""Length penalties: how sums of log-probabilities of different lengths compare."""

import dataclasses

import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class LengthPenalty:
  """None: the score is the log-probability."""

  def divisor(self, n):
    """What the log-probability of `n` tokens, `EOS` counted, is divided by."""
    return jnp.ones_like(n, jnp.float32)

  def score(self, logprob, n):
    """The score of a finished hypothesis of `n` tokens."""
    return logprob / self.divisor(n)

  def bound(self, logprob, n, longest):
    """The most that a hypothesis of `n` tokens, not finished, can still score when it
    may grow to `longest`.

    Its log-probability can only fall, and is not positive, so logprob / D bounds the
    score for D the largest divisor over the lengths n + 1 … longest. Every divisor here
    is monotone in the length, so D stands at one of the ends.
    """
    ends = self.divisor(n + 1), self.divisor(jnp.maximum(longest, n + 1))
    return logprob / jnp.maximum(*ends)


@dataclasses.dataclass(frozen=True)
class Gnmt(LengthPenalty):
  """((5 + n) / 6)^alpha (Wu et al. 2016, eq. 14); the paper takes alpha 0.6 (§6.1)."""

  alpha: float = 0.6

  def divisor(self, n):
    return ((5.0 + jnp.asarray(n, jnp.float32)) / 6.0) ** self.alpha


@dataclasses.dataclass(frozen=True)
class Average(LengthPenalty):
  """n: the score is the mean log-probability of a token."""

  def divisor(self, n):
    return jnp.asarray(n, jnp.float32)
