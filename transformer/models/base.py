"""What every model description offers."""

import abc
import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from transformer.batch import Pairs, Tokens


@dataclasses.dataclass(frozen=True)
class Model(abc.ABC):
  """A description of a model: sizes and recipes, hashable, without the vocabulary,
  which follows from the tokenizer.

  A module whose call gives logits offers its two halves too, so that they need not
  exist for all tokens at once,

    hidden(batch, train)              `[b, t, d]`
    logits(x_btd)                     `[b, t, v]`

  and one that generates, beside its call on a batch,

    unstack(params)                   parameters laid out for decoding
    start(unstacked, source, steps)   a `DecodeState` with one hypothesis a sentence
    step(unstacked, token_bw, state)  logits `[b, w, v]` and the state after the token

  What lies in the state, keys and values or a hidden vector, is its own.
  """

  @abc.abstractmethod
  def module(self, vocabulary: int, dtype) -> nn.Module:
    """The Linen module for a vocabulary, computing in `dtype` on float32 parameters."""

  def example(self) -> Any:
    """The least batch that the module takes, for shapes: `Pairs`, unless a model reads
    something else."""
    tokens = Tokens(*(np.ones((1, 2), np.int32),) * 3)
    return Pairs(tokens, tokens)

  @property
  @abc.abstractmethod
  def width(self) -> int:
    """d_model, which schedules and embeddings refer to."""


class EncoderDecoder(nn.Module):
  """Logits of every target token given its source and the target tokens before it.

  A member makes in `setup` the layers of `hidden`, and `output` for the logits.
  """

  c: Any
  vocabulary: int
  dtype: Any = jnp.float32

  def __call__(self, batch: Pairs, train: bool = False):
    """Logits `[b, t, v]` in float32 for every token of `batch.target`, each computed
    from the target tokens before it and from the whole source.

    With `train`, draws from the stream `dropout`.
    """
    return self.logits(self.hidden(batch, train))

  def logits(self, x_btd):
    """The logits of hidden states `[b, t, d]`."""
    return self.output(x_btd)

  def hidden(self, batch: Pairs, train: bool = False):
    """What the decoder makes of every token of `batch.target`, `[b, t, d]`."""
    raise NotImplementedError
