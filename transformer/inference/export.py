"""A whole search as one file that runs without this package (StableHLO)."""

from collections.abc import Sequence

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from transformer.batch import PAD, Tokens
from transformer.decoding.constraint import Constraint
from transformer.inference.search import Searcher, find

PLATFORMS = ("cpu", "cuda", "tpu")
"""What an artifact runs on."""


def export_search(searcher: Searcher) -> bytes:
  """A search with its parameters, serialised by `jax.export`.

  The exported function takes token ids `[b, s]`, int32, each row ending in `EOS` and
  then `PAD`, for any `b` and `s`, and returns a dict of

    tokens         [b, n, t]  ids up to and with `EOS`, then `PAD`; n is `n_best`
    scores         [b, n]     log-probability under the length penalty
    logprobs       [b, n]     log-probability in nats
    token_logprobs [b, n, t]  the same token by token

  where `t` is the longest output that a source of `s` tokens may have. What does not
  exist, as for a row without text, has no tokens and the score -inf.

  Raises:
    ValueError: the search draws, which an artifact does not.
  """
  search = searcher.search
  if search.draws:
    raise ValueError("an exported search draws nothing; leave the sampler out")

  def run(id_bs):
    b, s = id_bs.shape
    seg_bs = (id_bs != PAD).astype(jnp.int32)
    pos_bs = jnp.arange(s, dtype=jnp.int32)[None] * seg_bs
    size_b = jnp.sum(seg_bs, axis=1) - 1
    limit_b = size_b + search.extra
    if search.max_length is not None:
      limit_b = jnp.minimum(limit_b, search.max_length)
    limit_b = jnp.where(size_b > 0, limit_b, 0)
    least = search.min_length
    constraint = Constraint(
      limit_b,
      jnp.full_like(limit_b, least) if least else None,
      jnp.broadcast_to(jnp.array([search.prefix], jnp.int32), (b, len(search.prefix))),
      search.suppressed,
    )
    source = Tokens(id_bs, pos_bs, seg_bs)
    capacity = s + search.extra + 1
    if search.max_length is not None:
      capacity = jax.core.min_dim(capacity, search.max_length + 1)
    found = find(searcher.module, search, searcher.params, source, constraint, capacity)
    return {
      "tokens": found.token_bwt[:, : search.n_best],
      "scores": found.score_bw[:, : search.n_best],
      "logprobs": found.logprob_bw[:, : search.n_best],
      "token_logprobs": found.token_logprob_bwt[:, : search.n_best],
    }

  sizes = jax.export.symbolic_shape("b, s", constraints=["b >= 1", "s >= 1"])
  shape = jax.ShapeDtypeStruct(sizes, jnp.int32)
  exported = jax.export.export(jax.jit(run), platforms=PLATFORMS)(shape)
  return bytes(exported.serialize())


def decode(artifact: bytes, sources: Sequence[np.ndarray]) -> list[np.ndarray]:
  """The best output of every source, all in one batch, by an exported search.

  Raises:
    ValueError: these bytes are none.
  """
  try:
    run = jax.jit(jax.export.deserialize(bytearray(artifact)).call)
  except Exception as error:  # flatbuffers raise what they like on damaged bytes
    raise ValueError(f"no exported search ({error})") from None
  id_bs = np.full((len(sources), max(map(len, sources))), PAD, np.int32)
  for row, ids in enumerate(sources):
    id_bs[row, : len(ids)] = ids
  token_bt = np.asarray(run(id_bs)["tokens"][:, 0])
  return [token_t[token_t != PAD] for token_t in token_bt]
