"""Which tokens are allowed next, per sentence."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from transformer.batch import BOS, EOS, PAD


class Constraint(NamedTuple):
  """Limits of every sentence's output. All are per sentence, so that the output for a
  sentence does not depend on the rest of its batch.

  `max_length_b` and `min_length_b` count tokens without `EOS`; a forced prefix counts.
  A sentence of `max_length_b` 0 has no output. `prefix_bt`
  is a forced beginning, `PAD` where it ends; its log-probabilities count. `suppressed`
  ids are never chosen, and neither are `PAD` and `BOS`. Where limits contradict each
  other, `max_length_b` takes precedence over the prefix, and the prefix over the rest.
  """

  max_length_b: jax.Array
  min_length_b: jax.Array | None = None
  prefix_bt: jax.Array | None = None
  suppressed: tuple[int, ...] = ()

  def within(self, capacity: int) -> "Constraint":
    """The same with `max_length_b` cut so that `EOS` is among `capacity` tokens."""
    if capacity < 1:
      raise ValueError(f"capacity: expected 1 or more, for EOS, got {capacity}")
    return self._replace(max_length_b=jnp.minimum(self.max_length_b, capacity - 1))

  def restrict(self, logits_bwv, t):
    """The logits in float32, -inf for each token that is not allowed at position `t`.

    At `max_length_b` only `EOS` is allowed, so every output ends in it and scores are
    comparable.
    """
    id_v = jnp.arange(logits_bwv.shape[-1])
    allowed_v = (id_v != PAD) & (id_v != BOS)
    for token in self.suppressed:
      allowed_v &= id_v != token
    allowed_bv, eos_bv = allowed_v[None, :], (id_v == EOS)[None, :]
    if self.min_length_b is not None:
      allowed_bv &= ~(eos_bv & (t < self.min_length_b)[:, None])
    if self.prefix_bt is not None and self.prefix_bt.shape[1]:
      last = self.prefix_bt.shape[1] - 1
      forced_b = jnp.where(t <= last, self.prefix_bt[:, jnp.minimum(t, last)], PAD)
      forced_bv = forced_b[:, None] == id_v[None, :]
      allowed_bv = jnp.where((forced_b != PAD)[:, None], forced_bv, allowed_bv)
    allowed_bv = jnp.where((t >= self.max_length_b)[:, None], eos_bv, allowed_bv)
    return jnp.where(allowed_bv[:, None, :], logits_bwv.astype(jnp.float32), -jnp.inf)


def normalise(chosen_bwn, logits_bwv):
  """Log-probabilities in nats, float32, of tokens whose logits are `chosen_bwn`.

  A log-softmax over the whole vocabulary, forbidden tokens included, without an array
  of its size; never above 0, not even by rounding.
  """
  most_bw, log_bw = log_normalizer(logits_bwv)
  return (chosen_bwn - most_bw[:, :, None]) - log_bw[:, :, None]


def log_normalizer(logits_bwv):
  """The largest logit and the log of the sum of exp(logit - largest), float32 `[b, w]`:
  a log-probability is the logit minus the first and then minus the second."""
  logits_bwv = logits_bwv.astype(jnp.float32)
  most_bw = jnp.max(logits_bwv, axis=-1)
  sum_bw = jnp.sum(jnp.exp(logits_bwv - most_bw[:, :, None]), axis=-1)
  return most_bw, jnp.log(sum_bw)
