"""What a search carries from step to step."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class DecodeState(NamedTuple):
  """A model's state while it generates.

  Every leaf of `cache` is `[b, w, …]`, a hypothesis' own, and follows its hypothesis
  when a search reorders them. Every leaf of `memory` is `[b, …]`, a sentence's own:
  all its hypotheses read it in place, and it is never copied nor reordered.
  """

  cache: Any
  memory: Any


class Output(NamedTuple):
  """What a search found, best hypothesis first.

  A hypothesis that does not exist (fewer were found than asked for) has length 0 and
  score -inf.
  """

  token_bwt: jax.Array  # ids up to and with EOS, then PAD
  score_bw: jax.Array  # log-probability under the length penalty
  logprob_bw: jax.Array  # sum of the token log-probabilities, in nats
  token_logprob_bwt: jax.Array  # 0 after EOS
  length_bw: jax.Array  # tokens, EOS counted


def widen(state: DecodeState, w: int) -> DecodeState:
  """One hypothesis a sentence to `w` alike."""

  def repeat(leaf):
    return jnp.broadcast_to(leaf, (leaf.shape[0], w, *leaf.shape[2:]))

  return DecodeState(jax.tree.map(repeat, state.cache), state.memory)


def reorder(state: DecodeState, parent_bw) -> DecodeState:
  """Hypothesis `i` of every sentence takes the cache of `parent_bw[:, i]`."""

  def gather(leaf):
    return jax.vmap(lambda rows, parents: rows[parents])(leaf, parent_bw)

  return DecodeState(jax.tree.map(gather, state.cache), state.memory)
