"""One sentence, token by token, each as soon as it is chosen."""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from transformer.batch import BOS, EOS, Tokens
from transformer.decoding.constraint import Constraint
from transformer.decoding.state import DecodeState
from transformer.tasks.search import (
  Asked,
  Search,
  Searcher,
  declared_length,
  padded_prefixes,
  seed_of,
)


@functools.partial(jax.jit, static_argnames=("module", "capacity"))
def start(module, params, source: Tokens, capacity: int) -> DecodeState:
  """The state before the first token."""
  return module.start(params, source, capacity)


@functools.partial(
  jax.jit, static_argnames=("module", "search"), donate_argnames=("cache",)
)
def advance(module, search: Search, params, token_bw, t, cache, memory, asked: Asked):
  """Token number `t` after `token_bw`, and the cache after it."""
  logits_bwv, (cache, _) = module.step(params, token_bw, DecodeState(cache, memory))
  constraint = Constraint(
    asked.limit_b,
    jnp.full_like(asked.limit_b, search.min_length),
    asked.prefix_bt,
    search.suppressed,
  )
  choice_bv = constraint.restrict(logits_bwv, t)[:, 0]
  # As `decoding.sample.generate` draws the first sample of a sentence.
  fold = jax.vmap(jax.random.fold_in, in_axes=(0, None))
  key_b = fold(jax.vmap(jax.random.fold_in, (None, 0))(asked.key, asked.seed_b), 0)
  return search.sampler(fold(key_b, t), choice_bv).astype(jnp.int32)[:, None], cache


def stream(
  searcher: Searcher, source: np.ndarray, prefix: np.ndarray, seed: int = 0
) -> Iterator[int]:
  """The ids of one sentence's output without `EOS`, each when it is known; together
  they are what `Searcher.found` finds first.

  Raises:
    ValueError: the search keeps several hypotheses; which will win is known at the end.
  """
  search = searcher.search
  if search.beam > 1:
    raise ValueError(f"stream: a beam of {search.beam} cannot be streamed; take beam=1")
  if len(source) <= 1:
    return
  length = declared_length(len(source))
  tokens, limit_b = searcher.pad([source], 1, length)
  asked = Asked(
    limit_b,
    jnp.asarray([seed_of(source)], jnp.uint32),
    jnp.asarray(padded_prefixes([prefix], 1)),
    jax.random.key(seed),
  )
  module, params = searcher.module, searcher.params
  cache, memory = start(module, params, tokens, search.limit(length) + 1)
  token_bw = jnp.full((1, 1), BOS, jnp.int32)
  for t in range(int(limit_b[0]) + 1):
    token_bw, cache = advance(
      module, search, params, token_bw, jnp.int32(t), cache, memory, asked
    )
    token = int(token_bw[0, 0])
    if token == EOS:
      return
    yield token
