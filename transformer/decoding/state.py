"""What a search carries from step to step, and what it returns."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from transformer.batch import PAD


class DecodeState(NamedTuple):
  """A model's state while it generates.

  Every leaf of `cache` is `[b, w, …]`, a hypothesis' own, and follows its hypothesis
  when a search reorders them; where to write next is one of them. Every leaf of
  `memory` is `[b, …]`, a sentence's own: all its hypotheses read it in place. A search
  hands it to every step as it was given and takes none back, so it is never copied.
  """

  cache: Any
  memory: Any


class Output(NamedTuple):
  """What a search found. Beam search puts the best hypothesis first.

  A hypothesis that does not exist (fewer were found than asked for, or the sentence's
  `max_length_b` is 0) has length 0, only `PAD`, and score and log-probability -inf.
  """

  token_bwt: jax.Array  # ids up to and with EOS, then PAD; t is the capacity
  score_bw: jax.Array  # log-probability under the length penalty
  logprob_bw: jax.Array  # sum of the token log-probabilities, in nats
  token_logprob_bwt: jax.Array  # the model's own, uncut; 0 after EOS
  length_bw: jax.Array  # tokens, EOS counted


def nothing(b: int, w: int, capacity: int) -> Output:
  """`w` hypotheses a sentence none of which exists."""
  return Output(
    token_bwt=jnp.full((b, w, capacity), PAD, jnp.int32),
    score_bw=jnp.full((b, w), -jnp.inf),
    logprob_bw=jnp.full((b, w), -jnp.inf),
    token_logprob_bwt=jnp.zeros((b, w, capacity), jnp.float32),
    length_bw=jnp.zeros((b, w), jnp.int32),
  )


def widen(cache, w: int):
  """One hypothesis a sentence to `w` alike."""

  def repeat(leaf):
    return jnp.broadcast_to(leaf, (leaf.shape[0], w, *leaf.shape[2:]))

  return jax.tree.map(repeat, cache)


def take(tree, place_bw):
  """Hypothesis `i` of every sentence becomes what `place_bw[:, i]` was."""

  def gather(leaf):
    return jax.vmap(lambda rows, places: rows[places])(leaf, place_bw)

  return jax.tree.map(gather, tree)


def put(array_bwt, value_bw, t):
  """Writes `value_bw` at place `t` of every hypothesis."""
  return jax.lax.dynamic_update_index_in_dim(array_bwt, value_bw, t, 2)


def last_token(token_bwt, t, first: int):
  """The token before place `t`, `first` where there is none; `[b, w]`."""
  before_bw = jax.lax.dynamic_index_in_dim(
    token_bwt, jnp.maximum(t - 1, 0), 2, keepdims=False
  )
  return jnp.where(t == 0, first, before_bw)
