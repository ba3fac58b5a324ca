"""How probable given outputs are."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from transformer.batch import BOS, PAD
from transformer.decoding.constraint import normalise
from transformer.decoding.state import DecodeState


def score(step: Callable, state: DecodeState, target_bt) -> tuple[jax.Array, Any]:
  """Log-probabilities `[b, t]` in nats of given tokens, 0 at `PAD`, and what they
  attended to, `coverage_bws` with one hypothesis, None if the state comes without.

  They come through the very steps a search takes, without limits, so those of a
  search's output are its `token_logprob_bwt`. Targets end in `EOS`, then `PAD`; the
  state needs room for `t` steps.
  """

  def advance(carry, token_b):
    last_b, cache, before_bws = carry
    now = DecodeState(cache, state.memory, before_bws)
    logits_bwv, (cache, _, coverage_bws) = step(last_b[:, None], now)
    if coverage_bws is not None:
      over_b11 = (token_b == PAD)[:, None, None]
      coverage_bws = jnp.where(over_b11, before_bws, coverage_bws)
    chosen_bwn = jnp.take_along_axis(logits_bwv, token_b[:, None, None], axis=-1)
    token_logprob_bwn = normalise(chosen_bwn.astype(jnp.float32), logits_bwv)
    token_logprob_b = jnp.where(token_b == PAD, 0.0, token_logprob_bwn[:, 0, 0])
    return (token_b, cache, coverage_bws), token_logprob_b

  target_bt = jnp.asarray(target_bt, jnp.int32)
  first_b = jnp.full(target_bt.shape[:1], BOS, jnp.int32)
  start = first_b, state.cache, state.coverage_bws
  (*_, coverage_bws), token_logprob_tb = jax.lax.scan(advance, start, target_bt.T)
  return token_logprob_tb.T, coverage_bws
