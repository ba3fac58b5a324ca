"""What a family of models of Hugging Face's transformers has to say of itself."""

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import numpy as np

from transformer.batch import PAD, UNK, Tokens
from transformer.data.id_order import ABSENT, IdOrder
from transformer.experiment import Config
from transformer.interop.hf_directory import TensorInfo
from transformer.interop.sentence_modules import Module
from transformer.interop.tensor_map import TensorMap
from transformer.layers.feedforward import GELU, FeedForward, SiLU
from transformer.models.base import Model


class Origin(NamedTuple):
  """What is known of an imported model besides the values of its tensors: from its
  directory, and later from the run that it became.

  Attributes:
    config: its config.json.
    generation: its generation_config.json; empty if there is none.
    infos: shapes and types of its tensors by name.
    preprocessor: its preprocessor_config.json; empty if there is none.
    modules: those of a sentence-transformers directory; none in another, and none of a
      run.
  """

  config: Mapping[str, Any]
  generation: Mapping[str, Any]
  infos: Mapping[str, TensorInfo]
  preprocessor: Mapping[str, Any] = MappingProxyType({})
  modules: tuple[Module, ...] = ()

  def get(self, name: str, kind: type, default: Any = None) -> Any:
    """A setting of config.json, of the type `kind`; without a default it must be there.

    Raises:
      ValueError: it is missing, or of another type.
    """
    value = self.config.get(name, default)
    if kind is float and type(value) is int:
      value = float(value)
    if type(value) is not kind:
      raise ValueError(f"config.json: {name}: expected {kind.__name__}, got {value!r}")
    return value

  def size(self, name: str, default: int | None = None) -> int:
    """A setting of config.json that is a size, 1 or more."""
    value = self.get(name, int, default)
    if value < 1:
      raise ValueError(f"config.json: {name}: expected 1 or more, got {value}")
    return value

  def token(self, name: str) -> int | None:
    """The id of a special token; None if the model has none. Of several ids, the
    first."""
    value = self.config.get(name, self.generation.get(name))
    value = value[0] if isinstance(value, list) and value else value
    if value is not None and (type(value) is not int or value < 0):
      raise ValueError(f"config.json: {name}: expected an id, got {value!r}")
    return value

  def expect(self, **values: Any) -> None:
    """Raises ValueError where a setting of config.json is there and is not the one that
    is covered."""
    for name, value in values.items():
      if self.config.get(name, value) != value:
        raise ValueError(
          f"config.json: {name}: {self.config[name]!r} is not covered, only {value!r}"
        )


@dataclasses.dataclass(frozen=True)
class Family(abc.ABC):
  """A family of models: how its config becomes a model of this project, and its tensors
  that model's parameters."""

  architectures: ClassVar[tuple[str, ...]]
  """Names in `architectures` of config.json, those of the classes that open it."""

  tokenizers: ClassVar[tuple[str, ...]] = ()
  """Names of recipes of its tokenizers; the first where the directory names none. Those
  of a classifier of something else have none: their vocabulary is the classes."""

  def accepts(self, config: Mapping[str, Any]) -> bool:
    """Whether a config.json is of this family."""
    return bool(set(self.architectures) & set(config.get("architectures") or ()))

  @abc.abstractmethod
  def order(self, origin: Origin) -> IdOrder:
    """The order of the vocabulary by config.json alone: where the directory has files
    of a tokenizer, that is the tokenizer's."""

  @abc.abstractmethod
  def model(self, origin: Origin, order: IdOrder) -> Model:
    """The model.

    Raises:
      ValueError: a setting is missing, wrong or not covered.
    """

  @abc.abstractmethod
  def tensor_map(self, origin: Origin, model: Any, order: IdOrder) -> TensorMap:
    """The tensors of the model."""

  @abc.abstractmethod
  def experiment(self, origin: Origin, model: Any, order: IdOrder) -> Config:
    """The config of the run, but for its tokenizer."""

  def torch_class(self, architecture: str) -> str:
    """The name of the class of transformers that computes what the run's model
    computes."""
    return architecture

  def uncovered(self, origin: Origin) -> list[str]:
    """Settings of use, with their values, that have no counterpart here."""
    return []

  @abc.abstractmethod
  def random_batch(self, model: Any, order: IdOrder, seed: int) -> Any:
    """A batch of random input, padding included, that the module takes."""

  @abc.abstractmethod
  def torch_outputs(self, torch_model: Any, batch: Any, order: IdOrder) -> np.ndarray:
    """What Hugging Face's class computes for a batch of `random_batch`, of the shape of
    the module's outputs, to compare with them; NaN where they have no meaning, at
    padding and for absent ids."""


ACTIVATIONS: dict[str, FeedForward] = {
  "relu": FeedForward(),
  "gelu": GELU(),
  "gelu_new": GELU(approximate=True),
  "gelu_pytorch_tanh": GELU(approximate=True),
  "silu": SiLU(),
  "swish": SiLU(),
}
"""Feed-forward networks by the name of their activation in transformers."""


def activation(origin: Origin, name: str, default: str) -> FeedForward:
  """The feed-forward network that the setting `name` names.

  Raises:
    ValueError: it is not covered.
  """
  value = origin.get(name, str, default)
  if value not in ACTIVATIONS:
    raise ValueError(
      f"config.json: {name}: {value!r} is not covered; covered are "
      f"{', '.join(ACTIVATIONS)}"
    )
  return ACTIVATIONS[value]


def random_tokens(order: IdOrder, lengths: Sequence[int], seed: int) -> Tokens:
  """Random texts of these lengths, one a row."""
  generator = np.random.default_rng(seed)
  id_bt = generator.integers(UNK + 1, order.size, (len(lengths), max(lengths)))
  real_bt = np.arange(max(lengths)) < np.asarray(lengths)[:, None]
  pos_bt = np.where(real_bt, np.arange(max(lengths)), 0)
  id_bt = np.where(real_bt, id_bt, PAD)
  return Tokens(*(x.astype(np.int32) for x in (id_bt, pos_bt, real_bt)))


def torch_inputs(tokens: Tokens, order: IdOrder) -> dict[str, Any]:
  """Tokens as Hugging Face's classes take them."""
  import torch

  return {
    "input_ids": torch.from_numpy(np.asarray(order.theirs)[tokens.id_bt]),
    "attention_mask": torch.from_numpy(tokens.seg_bt.astype(np.int64)),
  }


def our_logits(logits_btv: np.ndarray, tokens: Tokens, order: IdOrder) -> np.ndarray:
  """Logits of the imported ids in our order, NaN at padding and for absent ids."""
  theirs = np.asarray(order.theirs)
  logits_btv = logits_btv[:, :, np.maximum(theirs, 0)]
  meant_btv = (tokens.seg_bt > 0)[:, :, None] & (theirs != ABSENT)
  return np.where(meant_btv, logits_btv, np.nan)
