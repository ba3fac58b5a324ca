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
