"""Log-probabilities of existing outputs, by teacher forcing."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from transformer.batch import BOS, PAD
from transformer.decoding.constraint import normalise
from transformer.decoding.state import DecodeState


def score(
  step: Callable, state: DecodeState, target_bt, start_id: int = BOS
) -> tuple[jax.Array, Any]:
  """Log-probabilities `[b, t]` in nats of the tokens `target_bt`, which follow
  `start_id`, 0 at `PAD`; and `coverage_bws` of one hypothesis, None if the state has
  none.

  They are computed by the same steps as in a search, without limits, so those of the
  output of a search are its `token_logprob_bwt`. Targets end in `EOS`, then `PAD`; the
  state must have capacity for `t` steps.
  """

  def advance(carry, token_b):
    last_b, cache, index, before_bws = carry
    now = DecodeState(cache, state.encoded, index, before_bws)
    logits_bwv, (cache, _, index, coverage_bws) = step(last_b[:, None], now)
    if coverage_bws is not None:
      ended_b11 = (token_b == PAD)[:, None, None]
      coverage_bws = jnp.where(ended_b11, before_bws, coverage_bws)
    chosen_bwn = jnp.take_along_axis(logits_bwv, token_b[:, None, None], axis=-1)
    token_logprob_bwn = normalise(chosen_bwn.astype(jnp.float32), logits_bwv)
    token_logprob_b = jnp.where(token_b == PAD, 0.0, token_logprob_bwn[:, 0, 0])
    return (token_b, cache, index, coverage_bws), token_logprob_b

  target_bt = jnp.asarray(target_bt, jnp.int32)
  first_b = jnp.full(target_bt.shape[:1], start_id, jnp.int32)
  index = jnp.asarray(state.index, jnp.int32)
  start = first_b, state.cache, index, state.coverage_bws
  (*_, coverage_bws), token_logprob_tb = jax.lax.scan(advance, start, target_bt.T)
  return token_logprob_tb.T, coverage_bws
