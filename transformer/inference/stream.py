"""One sentence, token by token, each as soon as it is chosen."""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from transformer.batch import BOS, EOS, Tokens
from transformer.decoding.state import DecodeState
from transformer.inference.search import Searcher, declared_length


@functools.partial(jax.jit, static_argnames=("module", "capacity"))
def start(module, params, source: Tokens, capacity: int) -> DecodeState:
  """The state before the first token."""
  return module.start(params, source, capacity)


@functools.partial(
  jax.jit, static_argnames=("module", "sampler"), donate_argnames=("cache",)
)
def advance(module, sampler, params, token_bw, t, cache, encoded, constraint, key_b):
  """Token number `t` after `token_bw`, and the cache after it."""
  logits_bwv, (cache, *_) = module.step(
    params, token_bw, DecodeState(cache, encoded, t)
  )
  choice_bv = constraint.restrict(logits_bwv, t)[:, 0]
  token_b = sampler(jax.vmap(jax.random.fold_in, (0, None))(key_b, t), choice_bv)
  return token_b.astype(jnp.int32)[:, None], cache


def stream(
  searcher: Searcher, source: np.ndarray, prefix: np.ndarray, seed: int = 0
) -> Iterator[int]:
  """The ids of one sentence's output without `EOS`, each when it is known; together
  they are what `Searcher.found` finds first.

  Raises:
    ValueError: the search keeps several hypotheses; which will win is known at the end.
  """
  search, module, params = searcher.search, searcher.module, searcher.params
  if search.beam > 1:
    raise ValueError(f"stream: a beam of {search.beam} cannot be streamed; take beam=1")
  if len(source) <= 1:
    return
  length = declared_length(len(source))
  tokens, constraint, seed_b = searcher.asked([source], [prefix], 1, length)
  # As `decoding.sample.generate` draws the first sample of a sentence.
  key_b = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), seed_b[0]), 0)
  cache, encoded, *_ = start(module, params, tokens, search.limit(length) + 1)
  token_bw = jnp.full((1, 1), BOS, jnp.int32)
  for t in range(int(constraint.max_length_b[0]) + 1):
    token_bw, cache = advance(
      module, search.sampler, params, token_bw, np.int32(t), cache, encoded, constraint,
      key_b[None],
    )  # fmt: skip
    token = int(token_bw[0, 0])
    if token == EOS:
      return
    yield token
