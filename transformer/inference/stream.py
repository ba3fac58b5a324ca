"""The output of one sentence, token by token as it is decoded."""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from transformer.batch import EOS, UNK, Tokens
from transformer.decoding.state import DecodeState
from transformer.inference.search import SOURCE_LENGTHS, Searcher


@functools.partial(jax.jit, static_argnames=("module", "capacity"))
def start(
  module, params, source: Tokens, capacity: int
) -> tuple[jax.Array, DecodeState]:
  """What stands before the first token, `[1, 1]`, and the state."""
  # Made here, it is placed as every later token is, and all share one program.
  first_bw = jnp.full((1, 1), module.c.start_id, jnp.int32)
  return first_bw, module.start(params, source, capacity)


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
  """The ids of one sentence's output without `EOS`, each as soon as it is decoded;
  together they are the first output of `Searcher.search_all`.

  Raises:
    ValueError: the search has a beam, whose best output is known only at its end.
  """
  search, module, params = searcher.search, searcher.module, searcher.params
  if search.beam > 1:
    raise ValueError(f"stream: expected a beam of 1, got {search.beam}")
  if len(source) <= 1:
    return
  length = SOURCE_LENGTHS.round_up(len(source))
  tokens, constraint, seed_b = searcher.batch([source], [prefix], 1, length)
  # The key of the first sample of a sentence in `decoding.sample.generate`.
  key_b = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), seed_b[0]), 0)
  token_bw, state = start(module, params, tokens, search.limit(length) + 1)
  cache, encoded, *_ = state
  for t in range(int(constraint.max_length_b[0]) + 1):
    token_bw, cache = advance(
      module, search.sampler, params, token_bw, np.int32(t), cache, encoded, constraint,
      key_b[None],
    )  # fmt: skip
    token = int(token_bw[0, 0])
    if token == EOS:
      return
    yield token


def compile_stream(searcher: Searcher, length: int) -> None:
  """Compiles the programs of a declared length of sources, by one token of one."""
  source = np.append(np.full(length - 1, UNK, np.int32), np.int32(EOS))
  next(stream(searcher, source, np.zeros(0, np.int32)), None)
