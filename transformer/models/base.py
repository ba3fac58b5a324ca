"""What all models have in common."""

import abc
import dataclasses
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from transformer.batch import BOS, Pairs, Tokens
from transformer.config import check_at_least
from transformer.decoding.state import DecodeState
from transformer.layers.attention import AttentionIntermediates


@dataclasses.dataclass(frozen=True)
class Model(abc.ABC):
  """A description of a model: sizes and recipes, hashable, without the vocabulary,
  which follows from the tokenizer.

  A module whose call returns logits also has its two halves as methods, so that the
  logits need not exist for all tokens at once,

    hidden(batch, train)              `[b, t, d]`
    logits(x_btd)                     `[b, t, v]`

  and one that generates has, besides its call on a batch,

    unstack(params)                   the parameters as decoding reads them
    restack(unstacked)                the parameters again
    start(unstacked, source, steps)   a `DecodeState` with one hypothesis a sentence
    step(unstacked, token_bw, state)  logits `[b, w, v]` and the state after the token

  The contents of the state, keys and values or a hidden vector, are the model's own.
  """

  @abc.abstractmethod
  def module(self, vocabulary: int, dtype) -> nn.Module:
    """The Linen module for a vocabulary, computing in `dtype` on float32 parameters."""

  def example(self) -> Any:
    """The smallest batch that the module takes, for shapes: `Pairs`, unless a model
    reads something else."""
    tokens = Tokens(*(np.ones((1, 2), np.int32),) * 3)
    return Pairs(tokens, tokens)

  @property
  @abc.abstractmethod
  def width(self) -> int:
    """d_model, which schedules and embeddings refer to."""

  @property
  def start_id(self) -> int:
    """The token that a decoder reads first."""
    return BOS

  @property
  def position_table_length(self) -> int | None:
    """Positions that have a learned vector of their own; None where there is no table
    of positions."""
    return None


def check_settings(
  model: Model, sizes: tuple[str, ...], rates: tuple[str, ...] = ()
) -> None:
  """Raises ValueError unless every field of `sizes` is 1 or more, and every one of
  `rates` 0 or more and below 1."""
  for name in sizes:
    check_at_least(f"model.{name}", getattr(model, name), 1)
  for name in rates:
    if not 0.0 <= getattr(model, name) < 1.0:
      raise ValueError(
        f"model.{name}: expected 0 or more and below 1, got {getattr(model, name)}"
      )


Attentions = dict[str, AttentionIntermediates]
"""What each attention of a model computes, stacked over its layers, by the names of its
modules: `encoder/self_attention`, `decoder/source_attention`."""


@runtime_checkable
class Attends(Protocol):
  """A module that shows what it attends to, by plain XLA and without dropout.

  Attention without heads has one; attention that reads a memory several times has a
  layer each time.
  """

  def attention(self, batch: Any) -> Attentions:
    """What its attention computes on a batch."""


class EncoderDecoder(nn.Module):
  """Logits of every target token given its source and the target tokens before it.

  A subclass makes the layers of `hidden` in `setup`, and `output` for the logits.
  """

  c: Any  # the description, a `Model` of the subclass' own type
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
    """The decoder's output for every token of `batch.target`, `[b, t, d]`."""
    raise NotImplementedError


class DecodesLayerByLayer:
  """For modules whose decoder is a stack: decoding reads its layers one by one.

  A search loop would otherwise slice every weight out of its stack at every token. The
  module has a method `advance(layers, token_bw, state)`, one step inside `apply`.
  """

  decoder_layers: ClassVar[tuple[str, ...]]
  """The path of the stacked layers of the decoder in the parameters."""

  def unstack(self, params) -> dict[str, Any]:
    """Parameters for decoding: `layers`, the decoder's one by one, and `rest`."""
    return unstacked(params, self.decoder_layers)

  def restack(self, params) -> Any:
    """The parameters of which `params` are the `unstack`ed ones."""
    return restacked(params, self.decoder_layers)

  def step(self, params, token_bw, state: DecodeState):
    """Feeds one token to every hypothesis: logits `[b, w, v]` of the next, and the
    state after it. The first token is the model's `start_id`. `params` are from
    `unstack`."""
    module: Any = self
    return module.apply(
      {"params": params["rest"]}, params["layers"], token_bw, state, method="advance"
    )


def unstacked(params, path: tuple[str, ...]) -> dict[str, Any]:
  """Parameters with the stacked layers at `path` taken out and one by one."""
  name, *further = path
  rest = dict(params)
  if further:
    inner = unstacked(rest[name], tuple(further))
    return {"rest": {**rest, name: inner["rest"]}, "layers": inner["layers"]}
  stacked = rest.pop(name)
  count = jax.tree.leaves(stacked)[0].shape[0]
  layers = tuple(jax.tree.map(lambda leaf, i=i: leaf[i], stacked) for i in range(count))
  return {"rest": rest, "layers": layers}


def restacked(params: dict[str, Any], path: tuple[str, ...]) -> Any:
  """The inverse of `unstacked`."""
  name, *further = path
  rest = dict(params["rest"])
  if further:
    inner = {"rest": rest[name], "layers": params["layers"]}
    return {**rest, name: restacked(inner, tuple(further))}
  return {**rest, name: jax.tree.map(lambda *x: jnp.stack(x), *params["layers"])}


def shift_right(target: Tokens, start_id: int = BOS):
  """The inputs of the decoder, `[b, t]`: each example's tokens one position later,
  after `start_id` (§3.1)."""
  before_bt = jnp.roll(target.id_bt, 1, axis=1)
  return jnp.where(target.pos_bt == 0, start_id, before_bt)
