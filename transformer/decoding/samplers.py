"""Samplers: how the next token is chosen where there is no beam."""

import dataclasses
from typing import Annotated

from etils import epy

from transformer.config import Range, check_numbers

with epy.lazy_imports():  # `--help` describes samplers, and does not wait for JAX
  import jax
  import jax.numpy as jnp

  from transformer.decoding import candidates


SamplingTemperature = Annotated[float, Range(1e-10, 1_000_000)]


@dataclasses.dataclass(frozen=True)
class Sampler:
  """Greedy: the most probable token, the lowest id in a tie."""

  def __call__(self, key_b, logits_bv):
    """One token id for every row. A logit of -inf is never chosen."""
    return candidates.best(logits_bv)


class _Random(Sampler):
  """Draws from softmax(logits / temperature) over the tokens that `cut` leaves.

  Each row has its own key. Subclasses have the field `temperature` after their own, so
  that `TopP(0.9)` means p = 0.9.

  Attributes:
    temperature: divides the logits; below 1 it favours the probable tokens.
  """

  temperature: SamplingTemperature

  def __post_init__(self):
    if self.temperature == 0:
      raise ValueError(
        "temperature: expected more than 0; for greedy search use Sampler()"
      )
    check_numbers(self)

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

  temperature: SamplingTemperature = 1.0


@dataclasses.dataclass(frozen=True)
class TopK(_Random):
  """The `k` most probable tokens (Fan et al. 2018), and those tied with the last.

  Attributes:
    k: how many tokens are kept.
  """

  k: int = 50
  temperature: SamplingTemperature = 1.0

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
  temperature: SamplingTemperature = 1.0

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
  temperature: SamplingTemperature = 1.0

  def __post_init__(self):
    super().__post_init__()
    if not 0 <= self.p <= 1:
      raise ValueError(f"p: expected 0 to 1, got {self.p}")

  def cut(self, logits_bv):
    least_b1 = jnp.max(logits_bv, axis=-1, keepdims=True) + jnp.log(self.p)
    return jnp.where(logits_bv >= least_b1, logits_bv, -jnp.inf)
