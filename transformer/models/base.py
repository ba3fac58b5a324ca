"""What every model description offers."""

import abc
import dataclasses

from flax import linen as nn


@dataclasses.dataclass(frozen=True)
class Model(abc.ABC):
  """A description of a model: sizes and recipes, hashable, without the vocabulary,
  which follows from the tokenizer."""

  @abc.abstractmethod
  def module(self, vocabulary: int, dtype) -> nn.Module:
    """The Linen module for a vocabulary, computing in `dtype` on float32 parameters."""

  @property
  @abc.abstractmethod
  def width(self) -> int:
    """d_model, which schedules and embeddings refer to."""


@dataclasses.dataclass(frozen=True)
class EncoderDecoder(Model):
  """A model of one text given another. Its module takes `Pairs`, gives the logits of
  every target token, and generates:

    unstack(params)                  parameters laid out for decoding
    start(unstacked, source, steps)  a `DecodeState` with one hypothesis a sentence
    step(unstacked, token_bw, state) logits `[b, w, v]` and the state after the token

  What lies in the state, keys and values or a hidden vector, is the model's own.
  """
