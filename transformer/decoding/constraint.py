"""What may come next, sentence by sentence."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from transformer.batch import BOS, EOS, PAD


class Constraint(NamedTuple):
  """Limits of every sentence's output. All are per sentence, so that no sentence's
  answer depends on its company.

  `max_length_b` and `min_length_b` count tokens without `EOS`. A sentence of
  `max_length_b` 0 is over before it begins. `prefix_bt` is a forced beginning, `PAD`
  where it ends; its log-probabilities count. `suppressed` ids are never produced.
  """

  max_length_b: jax.Array
  min_length_b: jax.Array | None = None
  prefix_bt: jax.Array | None = None
  suppressed: tuple[int, ...] = ()

  def logprobs(self, logits_bwv, t):
    """log-softmax in float32 over the whole vocabulary, then -inf for every token that
    may not be number `t` (from 0). At `max_length_b` only `EOS` may."""
    logprob_bwv = jax.nn.log_softmax(logits_bwv.astype(jnp.float32), axis=-1)
    id_v = jnp.arange(logits_bwv.shape[-1])
    never_v = (id_v == PAD) | (id_v == BOS)
    for token in self.suppressed:
      never_v |= id_v == token
    eos_v = id_v == EOS
    allowed_bv = jnp.where(
      (t >= self.max_length_b)[:, None], eos_v[None, :], ~never_v[None, :]
    )
    if self.min_length_b is not None:
      early_b = (t < self.min_length_b) & (t < self.max_length_b)
      allowed_bv &= ~(early_b[:, None] & eos_v[None, :])
    if self.prefix_bt is not None:
      last = self.prefix_bt.shape[1] - 1
      forced_b = jnp.where(
        t <= last, self.prefix_bt[:, jnp.minimum(t, last)], PAD
      )
      forced_bv = forced_b[:, None] == id_v[None, :]
      allowed_bv = jnp.where((forced_b != PAD)[:, None], forced_bv, allowed_bv)
    return jnp.where(allowed_bv[:, None, :], logprob_bwv, -jnp.inf)
