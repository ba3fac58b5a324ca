"""The layers of encoder and decoder (§3.1) and the sublayers they are made of."""

import dataclasses
import functools
from typing import Annotated, ClassVar

import jax
from flax import linen as nn

from transformer.axes import constrain_sharding
from transformer.config import Natural, Range
from transformer.decoding.state import KVCache, split_heads
from transformer.layers.attention import Attention, KeyValue, TokenContext
from transformer.layers.dropout import dropout
from transformer.layers.feedforward import FeedForward
from transformer.layers.kernels import Kernel
from transformer.layers.norms import LayerNorm, Norm
from transformer.layers.positions import Position, Sinusoid
from transformer.layers.remat import Remat
from transformer.layers.residual import Residual
from transformer.layers.scores import Score
from transformer.models.base import Model, check_settings


@dataclasses.dataclass(frozen=True)
class Stack(Model):
  """The description of a model whose layers are the Transformer's; the defaults are the
  sizes of its base model, and the names are the paper's.

  Attributes:
    layers: how many layers, in each of encoder and decoder where there are both.
    d_model: width of the residual stream and the embeddings.
    d_ff: inner width of the feed-forward sublayer.
    heads: attention heads of a layer.
    d_k, d_v: width of the queries and keys, and of the values, of a head; 0 stands
      for d_model / heads (§3.2.2).
    dropout: probability with which an output of the embeddings and of each sublayer
      is dropped in training (§5.4).
    attention_dropout: the same, of an attention weight; the paper has none.
    position: how tokens know their positions.
    score: the score of a query and a key.
    norm: normalisation around each sublayer.
    residual: where the norm stands: after the sublayer, as in the paper, or before.
    feed_forward: the feed-forward sublayer.
    biases: adds biases to the projections of attention; the paper has none.
    qkv_gain: a factor of the initial weights of queries, keys and values; fairseq, and
      in effect PyTorch's `MultiheadAttention`, have sqrt(1/2).
    embedding_norm: normalises the embedded tokens with their positions; the paper does
      not.
    unroll: how many layers are compiled as one block; speed alone.
    remat: what a layer keeps for the backward pass; memory and speed alone.
    kernel: the attention kernel in training; speed alone.
  """

  layers: int = 6
  d_model: int = 512
  d_ff: int = 2048
  heads: int = 8
  d_k: Natural = 0
  d_v: Natural = 0
  dropout: float = 0.1
  attention_dropout: float = 0.0
  position: Position = Sinusoid()
  score: Score = Score()
  norm: Norm = LayerNorm()
  residual: Residual = Residual()
  feed_forward: FeedForward = FeedForward()
  biases: bool = False
  qkv_gain: Annotated[float, Range(1e-6, 1_000_000)] = 1.0
  embedding_norm: Norm = Norm()
  unroll: int = 1
  remat: Remat = Remat()
  kernel: Kernel = Kernel()

  def __post_init__(self):
    check_settings(
      self,
      ("layers", "d_model", "d_ff", "heads", "unroll"),
      ("dropout", "attention_dropout"),
    )
    if self.d_model % self.heads and not (self.d_k and self.d_v):
      raise ValueError(
        f"model.d_model: expected a multiple of model.heads {self.heads}, got "
        f"{self.d_model}; change one of them, or set model.d_k and model.d_v"
      )

  @property
  def width(self) -> int:
    return self.d_model

  @property
  def position_table_length(self) -> int | None:
    return self.position.table_length

  @property
  def key_width(self) -> int:
    """d_k, channels of a head's queries and keys."""
    return self.d_k or self.d_model // self.heads

  @property
  def value_width(self) -> int:
    """d_v, channels of a head's values."""
    return self.d_v or self.d_model // self.heads


class Sublayer(nn.Module):
  """The residual connection, norm and dropout of one sublayer."""

  c: Stack

  @nn.compact
  def __call__(self, x_btd, sublayer, train: bool = False, real_bt=None):
    """See `Residual`: the residual stream, and what `sublayer` returns besides."""
    norm = functools.partial(self.c.norm, real_bt=real_bt, train=train)
    return self.c.residual(self, norm, x_btd, sublayer, self.c.dropout, train)


class FeedForwardNetwork(nn.Module):
  """The position-wise feed-forward network."""

  c: Stack

  @nn.compact
  def __call__(self, x_btd, train: bool = False):
    return self.c.feed_forward(self, x_btd, self.c.d_ff, train)


class EmbeddingNorm(nn.Module):
  """The norm of embedded tokens."""

  c: Stack

  @nn.compact
  def __call__(self, x_btd, real_bt, train: bool):
    return self.c.embedding_norm(self, x_btd, real_bt, train)


class PositionEncoding(nn.Module):
  """Positions on the embeddings, then the norm of embeddings, then dropout (§3.5,
  §5.4)."""

  c: Stack

  @nn.compact
  def __call__(self, x_btd, pos_bt, train: bool = False, real_bt=None):
    x_btd = self.c.position.embed(self, x_btd, pos_bt)
    x_btd = EmbeddingNorm(self.c, name="norm")(x_btd, real_bt, train)
    return dropout(self, x_btd, self.c.dropout, train)


class PositionBias(nn.Module):
  """The position bias that all layers of a stack share."""

  c: Stack
  causal: bool

  @nn.compact
  def __call__(self, q_pos_bt, k_pos_bs):
    return self.c.position.bias(self, self.c.heads, q_pos_bt, k_pos_bs, self.causal)


class FinalNorm(nn.Module):
  """What the residual recipe applies after the last layer."""

  c: Stack

  @nn.compact
  def __call__(self, x_btd, real_bt=None, train: bool = False):
    norm = functools.partial(self.c.norm, real_bt=real_bt, train=train)
    return self.c.residual.final_norm(self, norm, x_btd)


def key_value(c: Stack) -> KeyValue:
  """Keys and values of `c`'s sizes."""
  return KeyValue(c.heads, c.key_width, c.value_width, c.biases, c.qkv_gain)


def attention(
  c: Stack, key_value: KeyValue, position: Position = Position(), causal: bool = False
) -> Attention:
  """Attention of `c`'s sizes to the keys of `key_value`; self-attention also has a
  position recipe."""
  return Attention(
    c.heads,
    c.key_width,
    c.score,
    c.attention_dropout,
    position,
    key_value,
    c.kernel,
    causal,
    c.biases,
    c.qkv_gain,
  )


class SelfAttentionLayer(nn.Module):
  """Self-attention and feed-forward: the layer of an encoder, and of a decoder without
  a source where it is causal."""

  c: Stack

  causal: ClassVar[bool] = False
  """Whether the mask hides the tokens to the right of each query."""

  def setup(self):
    self.self_key_value = key_value(self.c)
    self.self_attention = attention(
      self.c, self.self_key_value, self.c.position, self.causal
    )
    self.self_sublayer = Sublayer(self.c)
    self.feed_forward = FeedForwardNetwork(self.c)
    self.feed_forward_sublayer = Sublayer(self.c)

  def keys_and_values(self, x_bsd, pos_bs):
    """Keys, rotated, and values `[b, s, h, k]` of self-attention."""
    k_bshk, v_bshk = self.self_key_value(x_bsd)
    return self.c.position.rotate(k_bshk, pos_bs), v_bshk

  def feed_forward_block(self, x_btd, train: bool = False, real_bt=None):
    """The feed-forward sublayer, if its recipe has one."""
    residual = functools.partial(self.feed_forward_sublayer, real_bt=real_bt)
    return self.c.feed_forward.sublayer(residual, self.feed_forward, x_btd, train)

  def attend(self, x_btd, tokens: TokenContext, train: bool):
    """The self-attention sublayer: `[b, t, d]`, and `AttentionIntermediates`."""

    def self_attention(x_btd):
      k_bshk, v_bshk = self.keys_and_values(x_btd, tokens.k_pos_bs)
      return self.self_attention(x_btd, k_bshk, v_bshk, tokens, train)

    return self.self_sublayer(x_btd, self_attention, train, tokens.real_bt)

  def __call__(
    self, x_btd, tokens: TokenContext, train: bool = False, keep_weights: bool = False
  ):
    """One layer over `[b, t, d]`, and with `keep_weights` its `AttentionIntermediates`,
    else None: `nn.scan` would stack them for all layers."""
    x_btd, intermediates = self.attend(x_btd, tokens, train)
    x_btd = self.feed_forward_block(x_btd, train, tokens.real_bt)
    return constrain_sharding("btd", x_btd), intermediates if keep_weights else None


class EncoderLayer(SelfAttentionLayer):
  """A layer of an encoder, whose tokens attend to both sides."""


class DecoderLayer(SelfAttentionLayer):
  """Causal self-attention, attention to the source, and feed-forward."""

  causal: ClassVar[bool] = True

  def setup(self):
    super().setup()
    self.source_key_value = key_value(self.c)
    self.source_attention = attention(self.c, self.source_key_value)
    self.source_sublayer = Sublayer(self.c)

  def __call__(  # type: ignore[override]
    self,
    x_btd,
    y_bsd,
    tokens: TokenContext,
    source: TokenContext,
    train: bool = False,
    keep_weights: bool = False,
  ):
    """One layer over whole targets `[b, t, d]` and encoded sources `[b, s, d]`, and
    with `keep_weights` the `AttentionIntermediates` of self-attention and of attention
    to the source, else None."""
    x_btd, to_target = self.attend(x_btd, tokens, train)
    x_btd, to_source = self.attend_to_source(
      x_btd, self.source_key_value(y_bsd), source, train
    )
    x_btd = self.feed_forward_block(x_btd, train, tokens.real_bt)
    kept = (to_target, to_source) if keep_weights else None
    return constrain_sharding("btd", x_btd), kept

  def attend_to_source(
    self, x_btd, key_value_bshk, source: TokenContext, train: bool = False
  ):
    """The sublayer of attention to keys and values of the source: `[b, t, d]`, and
    `AttentionIntermediates`."""

    def source_attention(x_btd):
      k_bshk, v_bshk = key_value_bshk
      return self.source_attention(x_btd, k_bshk, v_bshk, source, train)

    return self.source_sublayer(x_btd, source_attention, train, source.real_bt)

  def encode_source(self, y_bsd):
    """Keys `[b, h, k, s]` and values `[b, h, s, k]` of the source, computed once per
    sentence, in the order of axes in which the products of a step read them."""
    k_bshk, v_bshk = self.source_key_value(y_bsd)
    transposed = k_bshk.transpose(0, 2, 3, 1), v_bshk.transpose(0, 2, 1, 3)
    # Without the barrier the compiler transposes them again at every step of a loop.
    return jax.lax.optimization_barrier(transposed)

  def step(
    self, x_bwd, cache: KVCache, key_value, tokens: TokenContext, source: TokenContext,
    index,
  ):  # fmt: skip
    """One token of every hypothesis.

    The hypotheses of a sentence are its queries `t = w`, both to the source and to
    their own past: the cache holds the tokens of all of them, and the mask leaves each
    its own (see `KVCache`).

    Args:
      x_bwd: the newest token of `w` hypotheses of each of `b` sentences.
      cache: keys and values of the tokens so far.
      key_value: keys and values of the source, from `encode_source`.
      tokens, source: contexts of the two attentions.
      index: the number of the step, where the cache is written.

    Returns:
      `[b, w, d]`, the cache with this token in it, and the weights of attention to the
      source, `[b, h, w, s]`.
    """

    def self_attention(x_bwd):
      k_bwhk, v_bwhk = self.keys_and_values(x_bwd, tokens.q_pos_bt)
      written = cache.write(k_bwhk, v_bwhk, index)
      y_bwd, _ = self.self_attention(x_bwd, *written.keys_and_values(), tokens)
      return y_bwd, written

    x_bwd, written = self.self_sublayer(x_bwd, self_attention)
    x_bwd, to_source = self.attend_to_source(x_bwd, split_heads(*key_value), source)
    return self.feed_forward_block(x_bwd), written, to_source.weights_bhts
