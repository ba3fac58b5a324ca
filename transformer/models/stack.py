"""Stacks of encoder and decoder layers (§3.1), scanned over their depth."""

import dataclasses
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from transformer.axes import constrain_sharding
from transformer.decoding.state import Slots
from transformer.layers.attention import Attention, Memory
from transformer.layers.dropout import dropout
from transformer.layers.feedforward import FeedForward
from transformer.layers.kernels import Kernel, Segments
from transformer.layers.masks import causal, same_segment
from transformer.layers.norms import LayerNorm, Norm
from transformer.layers.positions import Position, Sinusoid
from transformer.layers.remat import Remat
from transformer.layers.residual import Residual
from transformer.layers.scores import Score
from transformer.models.base import Model


@dataclasses.dataclass(frozen=True)
class Stack(Model):
  """The description of a model whose layers are the Transformer's; the defaults are the
  sizes of its base model, and the names are the paper's.

  `d_k` and `d_v` of 0 stand for d_model / heads (§3.2.2). Speed settings: `unroll`, how
  many layers are compiled as one piece; `remat`, what they keep for the backward pass;
  `kernel`, what computes attention in training.
  """

  layers: int = 6
  d_model: int = 512
  d_ff: int = 2048
  heads: int = 8
  d_k: int = 0
  d_v: int = 0
  dropout: float = 0.1
  attention_dropout: float = 0.0
  position: Position = Sinusoid()
  score: Score = Score()
  norm: Norm = LayerNorm()
  residual: Residual = Residual()
  feed_forward: FeedForward = FeedForward()
  unroll: int = 1
  remat: Remat = Remat()
  kernel: Kernel = Kernel()

  def __post_init__(self):
    for name in ("layers", "d_model", "d_ff", "heads", "unroll"):
      if getattr(self, name) < 1:
        raise ValueError(f"model.{name}: {getattr(self, name)} is less than 1")
    for name in ("dropout", "attention_dropout"):
      if not 0.0 <= getattr(self, name) < 1.0:
        raise ValueError(f"model.{name}: {getattr(self, name)} is not in [0, 1)")
    if self.d_model % self.heads and not (self.d_k and self.d_v):
      raise ValueError(
        f"model.d_model: {self.d_model} does not divide by model.heads "
        f"{self.heads}; choose sizes that do, or set model.d_k and model.d_v"
      )

  @property
  def width(self) -> int:
    return self.d_model

  @property
  def key_width(self) -> int:
    """d_k, channels of a head's queries and keys."""
    return self.d_k or self.d_model // self.heads

  @property
  def value_width(self) -> int:
    """d_v, channels of a head's values."""
    return self.d_v or self.d_model // self.heads


class Join(nn.Module):
  """One sublayer's residual connection, norm and dropout."""

  c: Any

  @nn.compact
  def __call__(self, x_btd, sublayer, train=False, real_bt=None):
    c = self.c
    norm = functools.partial(c.norm, real_bt=real_bt, train=train)
    return c.residual(self, norm, x_btd, sublayer, c.dropout, train)


class PositionWise(nn.Module):
  """The feed-forward sublayer."""

  c: Any

  @nn.compact
  def __call__(self, x_btd, train=False):
    return self.c.feed_forward(self, x_btd, self.c.d_ff, train)


def memory(c: Stack) -> Memory:
  """Keys and values of `c`'s sizes."""
  return Memory(c.heads, c.key_width, c.value_width)


def attention(c: Stack, memory: Memory, position=Position()) -> Attention:
  """Attention of `c`'s sizes to keys from `memory`; among the tokens of one sequence,
  where places count, with a position recipe."""
  return Attention(
    c.heads,
    c.key_width,
    c.score,
    c.attention_dropout,
    position,
    memory,
    c.kernel,
  )


def feed_forward(layer: "EncoderLayer | DecoderLayer", x_btd, train, real_bt):
  """The feed-forward sublayer of a layer, if its recipe has one."""
  join = functools.partial(layer.feed_forward_join, real_bt=real_bt)
  return layer.c.feed_forward.sublayer(join, layer.feed_forward, x_btd, train)


class EncoderLayer(nn.Module):
  """Self-attention and feed-forward."""

  c: Any

  causal: ClassVar[bool] = False
  """Whether `mask_bts` hides what stands to the right."""

  def setup(self):
    self.self_memory = memory(self.c)
    self.self_attention = attention(self.c, self.self_memory, self.c.position)
    self.self_join = Join(self.c)
    self.feed_forward = PositionWise(self.c)
    self.feed_forward_join = Join(self.c)

  def __call__(self, x_btd, pos_bt, seg_bt, mask_bts, bias_bhts, train=False):
    """One layer over `[b, t, d]`; the second result is scan's, and empty."""

    def attend(x_btd):
      k_bshk, v_bshk = self.self_memory(x_btd)
      k_bshk = self.c.position.rotate(k_bshk, pos_bt)
      return self.self_attention(
        x_btd,
        k_bshk,
        v_bshk,
        mask_bts,
        bias_bhts,
        pos_bt,
        pos_bt,
        train,
        Segments(seg_bt, seg_bt, self.causal),
      )

    real_bt = seg_bt != 0
    x_btd = self.self_join(x_btd, attend, train, real_bt)
    return constrain_sharding("btd", feed_forward(self, x_btd, train, real_bt)), None


class DecoderLayer(nn.Module):
  """Self-attention, attention to the source, and feed-forward."""

  c: Any

  def setup(self):
    self.self_memory = memory(self.c)
    self.self_attention = attention(self.c, self.self_memory, self.c.position)
    self.self_join = Join(self.c)
    self.source_memory = memory(self.c)
    self.source_attention = attention(self.c, self.source_memory)
    self.source_join = Join(self.c)
    self.feed_forward = PositionWise(self.c)
    self.feed_forward_join = Join(self.c)

  def __call__(
    self,
    x_btd,
    y_bsd,
    pos_bt,
    seg_bt,
    source_seg_bs,
    mask_bts,
    bias_bhts,
    source_mask_bts,
    train=False,
  ):
    """One layer over whole targets `[b, t, d]` and sources `[b, s, d]`."""

    def attend(x_btd):
      k_bshk, v_bshk = self.self_memory(x_btd)
      k_bshk = self.c.position.rotate(k_bshk, pos_bt)
      return self.self_attention(
        x_btd,
        k_bshk,
        v_bshk,
        mask_bts,
        bias_bhts,
        pos_bt,
        pos_bt,
        train,
        Segments(seg_bt, seg_bt, causal=True),
      )

    real_bt = seg_bt != 0
    x_btd = self.self_join(x_btd, attend, train, real_bt)
    source = self.source_memory(y_bsd)
    segments = Segments(seg_bt, source_seg_bs, causal=False)
    x_btd = self._source_and_feed_forward(
      x_btd, source, source_mask_bts, train, real_bt, segments
    )
    return constrain_sharding("btd", x_btd), None

  def remember(self, y_bsd):
    """Keys `[b, h, k, s]` and values `[b, h, s, k]` of the source, computed once per
    sentence and laid as the products of a step read them."""
    k_bshk, v_bshk = self.source_memory(y_bsd)
    laid = k_bshk.transpose(0, 2, 3, 1), v_bshk.transpose(0, 2, 1, 3)
    # Else the compiler lays them anew at every step of a loop.
    return jax.lax.optimization_barrier(laid)

  def step(
    self, x_bwd, cache, source, pos_bw, pos_bs, mask_bws, bias_bhws, source_mask_bws
  ):
    """One token of every hypothesis.

    The hypotheses of a sentence are its queries `t = w`, to the source and also to
    their own past: that of all of them lies together in `cache`, and each sees its own.

    Args:
      x_bwd: the newest token of `w` hypotheses of each of `b` sentences.
      cache: `Slots` of keys `[b, h, k, s]` and values `[b, h, s, k]`.
      source: keys and values from `remember`.
      pos_bw: where the newest token stands, the same for all.
      pos_bs: where what is in the cache stands.
      mask_bws: what in the cache is a hypothesis' past or its newest token.
      bias_bhws: position bias to those, or None.
      source_mask_bws: which source tokens are real.

    Returns:
      `[b, w, d]`, and the cache with this token in it.
    """
    index = pos_bw[0, 0]
    written: list[Slots] = []

    def attend(x_bwd):
      k_bwhk, v_bwhk = self.self_memory(x_bwd)
      k_bwhk = self.c.position.rotate(k_bwhk, pos_bw)
      keys = cache[0].write(k_bwhk.transpose(0, 2, 3, 1), index)
      values = cache[1].write(v_bwhk.transpose(0, 2, 1, 3), index)
      written.extend((keys, values))
      k_bshk, v_bshk = recall(keys.array, values.array)
      return self.self_attention(
        x_bwd, k_bshk, v_bshk, mask_bws, bias_bhws, pos_bw, pos_bs
      )

    x_bwd = self.self_join(x_bwd, attend)
    source = recall(*source)
    x_bwd = self._source_and_feed_forward(x_bwd, source, source_mask_bws, False)
    return x_bwd, tuple(written)

  def _source_and_feed_forward(
    self, x_btd, source, source_mask_bts, train, real_bt=None, segments=None
  ):
    def attend(x_btd):
      k_bshk, v_bshk = source
      return self.source_attention(
        x_btd, k_bshk, v_bshk, source_mask_bts, train=train, segments=segments
      )

    x_btd = self.source_join(x_btd, attend, train, real_bt)
    return feed_forward(self, x_btd, train, real_bt)


class Place(nn.Module):
  """Positions on the embeddings, then dropout on the sum (§3.5, §5.4)."""

  c: Any

  @nn.compact
  def __call__(self, x_btd, pos_bt, train=False):
    x_btd = self.c.position.embed(self, x_btd, pos_bt)
    return dropout(self, x_btd, self.c.dropout, train)


class Bias(nn.Module):
  """The position bias that all layers of a stack share."""

  c: Any
  causal: bool

  @nn.compact
  def __call__(self, q_pos_bt, k_pos_bs):
    return self.c.position.bias(self, self.c.heads, q_pos_bt, k_pos_bs, self.causal)


class Last(nn.Module):
  """What the residual recipe does after the last layer."""

  c: Any

  @nn.compact
  def __call__(self, x_btd, real_bt=None, train=False):
    norm = functools.partial(self.c.norm, real_bt=real_bt, train=train)
    return self.c.residual.last(self, norm, x_btd)


class Encoder(nn.Module):
  """N layers over embedded tokens."""

  c: Any

  def setup(self):
    self.place = Place(self.c)
    self.bias = Bias(self.c, causal=False)
    self.layers = scanned(EncoderLayer, self.c, 5)(self.c)
    self.last = Last(self.c)

  def __call__(self, x_btd, pos_bt, seg_bt, train=False):
    x_btd = constrain_sharding("btd", self.place(x_btd, pos_bt, train))
    mask_bts = same_segment(seg_bt, seg_bt)
    bias_bhts = self.bias(pos_bt, pos_bt)
    x_btd, _ = self.layers(x_btd, pos_bt, seg_bt, mask_bts, bias_bhts, train)
    return self.last(x_btd, seg_bt != 0, train)


class Decoder(nn.Module):
  """N layers over embedded target tokens and an encoded source."""

  c: Any

  def setup(self):
    self.place = Place(self.c)
    self.bias = Bias(self.c, causal=True)
    self.layers = scanned(DecoderLayer, self.c, 8)(self.c)
    self.last = Last(self.c)

  def __call__(self, x_btd, pos_bt, seg_bt, y_bsd, source_seg_bs, train=False):
    x_btd = constrain_sharding("btd", self.place(x_btd, pos_bt, train))
    mask_bts = causal(pos_bt, pos_bt) & same_segment(seg_bt, seg_bt)
    source_mask_bts = same_segment(seg_bt, source_seg_bs)
    bias_bhts = self.bias(pos_bt, pos_bt)
    x_btd, _ = self.layers(
      x_btd,
      y_bsd,
      pos_bt,
      seg_bt,
      source_seg_bs,
      mask_bts,
      bias_bhts,
      source_mask_bts,
      train,
    )
    return self.last(x_btd, seg_bt != 0, train)

  def step(self, layers, x_bwd, caches, sources, pos_bw, origin_bws, source_seg_bs):
    """One token through all layers, whose parameters come one by one in `layers`, so
    that a search loop slices no stacked weight; see `DecoderLayer.step`.

    `origin_bws` tells from which place of the beam each of a hypothesis' tokens was
    written, this one too, and is -1 for those to come. The last result, `[b, w, s]`, is
    how the last layer attended to the source, the mean over its heads.
    """
    b, w, _ = x_bwd.shape
    x_bwd = self.place(x_bwd, pos_bw)
    slots = caches[0][0].count
    mask_bwsw = origin_bws[:, :, :slots, None] == jnp.arange(w)[None, None, None, :]
    mask_bws = mask_bwsw.reshape(b, w, slots * w)
    pos_bs = jnp.broadcast_to(jnp.repeat(jnp.arange(slots), w), (b, slots * w))
    bias_bhws = self.bias(pos_bw, pos_bs)
    source_mask_bws = same_segment(jnp.ones_like(pos_bw), source_seg_bs)
    layer, written = DecoderLayer(self.c, parent=None), []
    for params, cache, source in zip(layers, caches, sources, strict=True):
      (x_bwd, cache), seen = layer.apply(
        {"params": params}, x_bwd, cache, source, pos_bw, pos_bs, mask_bws, bias_bhws,
        source_mask_bws, method="step", mutable=["intermediates"],
      )  # fmt: skip
      written.append(cache)
    (weights_bhws,) = seen["intermediates"]["source_attention"]["weights"]
    return self.last(x_bwd), tuple(written), jnp.mean(weights_bhws, axis=1)


def scanned(layer, c: Stack, broadcasts: int):
  """`layer` repeated `c.layers` times, its parameters stacked along axis `l`.

  `unroll` layers are compiled at a time, and `remat` says what they keep for the
  backward pass; the parameters lie the same whatever these are.
  """
  return nn.scan(
    c.remat(layer, static=(broadcasts + 1,)),  # the last argument, `train`
    variable_axes={"params": 0, "batch_stats": 0, "intermediates": 0},
    split_rngs={"params": True, "dropout": True},
    in_axes=(nn.broadcast,) * broadcasts,
    length=c.layers,
    unroll=min(c.unroll, c.layers),
    metadata_params={nn.PARTITION_NAME: "l"},
  )


def recall(k_bhks, v_bhsk):
  """Keys and values `[b, s, h, k]` as attention takes them; nothing is moved."""
  return k_bhks.transpose(0, 3, 1, 2), v_bhsk.transpose(0, 2, 1, 3)
