"""Vectors of texts, by an encoder.

Texts are padded to declared lengths and a fixed number of rows, so the vector of a text
does not depend on the batch that it is in (batch invariance).
"""

import functools
from collections.abc import Callable, Sequence

import jax
import numpy as np

from transformer.batch import BOS, EOS, Tokens
from transformer.data.tokenizer import Tokenizer
from transformer.inference.batches import TEXT_LENGTHS, group, pad_tokens
from transformer.layers.pooling import Pooling, unit_length
from transformer.models.bert import Bert
from transformer.models.transformer import Transformer

ROWS = 16
"""Texts in a batch."""


class TextEmbedder:
  """An encoder with its parameters and tokenizer."""

  def __init__(
    self,
    module,
    params,
    tokenizer: Tokenizer,
    pooling: Pooling = Pooling(),
    normalise: bool = False,
    context: int | None = None,
  ):
    """Args:
      module, params: the model.
      tokenizer: its vocabulary.
      pooling: how the vectors of tokens become one.
      normalise: whether vectors are divided by their lengths.
      context: the most tokens of a text, special ones counted; longer texts are cut.

    Raises:
      ValueError: the model has no encoder of texts.
    """
    check_encoder(module)
    self.module, self.params, self.tokenizer = module, params, tokenizer
    self.pooling, self.normalise, self.context = pooling, normalise, context
    self.num_cut = 0  # texts that were longer than the context

  def embed(
    self, texts: Sequence[str], progress: Callable[[int], object] | None = None
  ) -> np.ndarray:
    """The vector of every text in order, float32 `[n, d]`; `progress` is called with 1
    for every text finished."""
    sources = self.encode(texts)
    vectors_nd = np.zeros((len(texts), self.module.c.d_model), np.float32)
    padded = [TEXT_LENGTHS.round_up(len(ids)) for ids in sources]
    for length, rows, indices in group(padded, lambda _: (ROWS,)):
      batch = pad_tokens([sources[i] for i in indices], rows, length)
      vectors_bd = embed_batch(
        self.module, self.pooling, self.normalise, self.params, batch
      )
      vectors_nd[indices] = np.asarray(vectors_bd)[: len(indices)]
      if progress is not None:
        progress(len(indices))
    return vectors_nd

  def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
    """The tokens of every text, up to `EOS`: for BERT after `BOS`, for a Transformer as
    sources are; the `EOS` of a text that is cut stays."""
    begin = [BOS] if isinstance(self.module.c, Bert) else []
    sources = []
    for ids in self.tokenizer.encode(list(texts)):
      ids = np.concatenate([begin, ids]).astype(np.int32)
      if self.context is not None and len(ids) > self.context:
        self.num_cut += 1
        ids = np.append(ids[: self.context - 1], np.int32(EOS))
      sources.append(ids)
    return sources


def check_encoder(module) -> None:
  """Raises ValueError if a model has no encoder that gives a vector for each token."""
  if not isinstance(module.c, Transformer) or not hasattr(module, "encode"):
    raise ValueError(
      f"{type(module.c).__name__} has no encoder of texts, so no vectors to pool; use "
      "the run of a Transformer or of BERT"
    )


@functools.partial(jax.jit, static_argnames=("module", "pooling", "normalise"))
def embed_batch(module, pooling: Pooling, normalise: bool, params, batch: Tokens):
  """The vectors of the one text of every row, `[b, d]` in float32."""
  x_btd = module.apply({"params": params}, batch, method=token_vectors)
  vectors_bd = pooling(x_btd, batch)[0][:, 0]
  return unit_length(vectors_bd) if normalise else vectors_bd


def token_vectors(module, tokens: Tokens, train: bool = False):
  """The output of a bound module's encoder, `[b, t, d]`."""
  y = module.encode(tokens, train)
  return y[0] if isinstance(module.c, Bert) else y
