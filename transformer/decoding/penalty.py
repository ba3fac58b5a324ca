"""Penalties: scores that make outputs of different lengths comparable, and that lower
the score of an output that leaves words of its source untranslated."""

import dataclasses
from typing import Annotated, ClassVar

from etils import epy

from transformer.config import Range, check_numbers

with epy.lazy_imports():  # `--help` describes penalties, and does not wait for JAX
  import jax.numpy as jnp


Exponent = Annotated[float, Range(-10, 10)]
"""Of a length: up to 6,000 tokens, the power is a number of float32."""


@dataclasses.dataclass(frozen=True)
class LengthPenalty:
  """No penalty: the score is the log-probability.

  A subclass defines the divisor of the log-probability of `n` tokens. `n` counts every
  token of the output, `EOS` and a forced prefix included, so it is never 0. The divisor
  must be positive and monotone in `n`, rising or falling: then `bound` holds.
  """

  needs_attention: ClassVar[bool] = False
  """Whether the score depends on the attention to the source."""

  exact: ClassVar[bool] = True
  """Whether `bound` holds, so that stopping early never changes the best outputs."""

  def __post_init__(self):
    check_numbers(self)

  def divisor(self, n):
    """The divisor of the log-probability of `n` tokens, float32."""
    return jnp.ones_like(n, jnp.float32)

  def normalise(self, logprob, n, coverage_s=None):
    """The score of a finished output of `n` tokens; `coverage_s`, for penalties that
    need attention, is `DecodeState.coverage_bws` of its hypothesis, `[…, s]`."""
    return logprob / self.divisor(n)

  def bound(self, logprob, n, max_n):
    """An upper bound on the score of any continuation of a hypothesis of `n` tokens.

    `max_n` is the largest number of tokens without `EOS`: the finished output has n'
    tokens, n + 1 <= n' <= max_n + 1, and a log-probability L' <= L <= 0, L = `logprob`.
    With D the largest divisor over these n', normalise(L', n') <= L / divisor(n') <=
    L / D. Divisors are monotone, so D is the larger of those at the two ends. Rounding
    is monotone too and keeps the bound.
    """
    ends = self.divisor(n + 1), self.divisor(jnp.maximum(max_n, n) + 1)
    return logprob / jnp.maximum(*ends)


@dataclasses.dataclass(frozen=True)
class GNMT(LengthPenalty):
  """((5 + n) / 6)^alpha (Wu et al. 2016, eq. 14); the paper takes alpha 0.6 (§6.1).

  Attributes:
    alpha: the exponent; a larger one favours longer outputs, 0 is no penalty.
  """

  alpha: Exponent = 0.6

  def divisor(self, n):
    return ((5.0 + jnp.asarray(n, jnp.float32)) / 6.0) ** self.alpha


@dataclasses.dataclass(frozen=True)
class Average(LengthPenalty):
  """n: the score is the mean log-probability of a token."""

  def divisor(self, n):
    return jnp.asarray(n, jnp.float32)


@dataclasses.dataclass(frozen=True)
class LengthPower(LengthPenalty):
  """n^alpha: `length_penalty` of `generate` in Hugging Face's transformers, where `n`
  counts `EOS` as here.

  An alpha of 1 is the mean log-probability of a token, 0 no penalty; a negative one
  favours shorter outputs.

  Attributes:
    alpha: the exponent.
  """

  alpha: Exponent = 1.0

  def divisor(self, n):
    return jnp.asarray(n, jnp.float32) ** self.alpha


@dataclasses.dataclass(frozen=True)
class HeuristicLengthPower(LengthPower):
  """n^alpha, where a hypothesis is assumed to end at its present length and so to score
  at most what it scores now: beam search in Hugging Face's transformers with its
  default `early_stopping=False`.

  With a positive alpha a longer output may score more, and is missed; but a search
  ends soon after its first outputs, and not at the largest length.
  """

  exact: ClassVar[bool] = False

  def bound(self, logprob, n, max_n):
    return logprob / self.divisor(n)


@dataclasses.dataclass(frozen=True)
class Coverage(LengthPenalty):
  """The score under `length`, plus beta times the sum over source tokens (EOS counted)
  of log min(1, a), a the attention that the token got from the whole output (Wu et al.
  2016, eq. 14, who take beta 0.2 and alpha 0.2).

  The sum is at most 0, so the bound of `length` holds here too.

  Attributes:
    beta: weight of the coverage term.
    length: the length penalty beside it.
  """

  beta: Annotated[float, Range(0, 1000)] = 0.2
  length: LengthPenalty = GNMT(0.2)

  needs_attention: ClassVar[bool] = True

  def __post_init__(self):
    super().__post_init__()
    if self.length.needs_attention:
      raise ValueError(
        f"length: expected a penalty of lengths alone, got {self.length}"
      )

  def divisor(self, n):
    return self.length.divisor(n)

  def normalise(self, logprob, n, coverage_s=None):
    # The smallest float32 in place of 0 keeps the logarithm finite.
    share_s = jnp.clip(coverage_s, jnp.finfo(jnp.float32).tiny, 1.0)
    covered = self.beta * jnp.sum(jnp.log(share_s), axis=-1)
    return self.length.normalise(logprob, n) + covered
