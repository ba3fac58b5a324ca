"""How probable a given output is."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from transformer.batch import BOS, PAD
from transformer.decoding.state import DecodeState


def score(step: Callable, state: DecodeState, target_bt) -> jax.Array:
  """Log-probabilities `[b, t]` in nats of given tokens, 0 at `PAD`, through the very
  steps that a search takes."""

  def advance(carry, token_b):
    last_b, state = carry
    logits_bwv, state = step(last_b[:, None], state)
    logprob_bv = jax.nn.log_softmax(logits_bwv[:, 0].astype(jnp.float32), axis=-1)
    gain_b = jnp.take_along_axis(logprob_bv, token_b[:, None], axis=-1)[:, 0]
    return (token_b, state), jnp.where(token_b == PAD, 0.0, gain_b)

  first_b = jnp.full((target_bt.shape[0],), BOS, jnp.int32)
  _, gain_tb = jax.lax.scan(advance, (first_b, state), target_bt.T)
  return gain_tb.T
