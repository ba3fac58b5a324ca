"""Encoder and decoder: stacks of layers, scanned over their depth (§3.1)."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from transformer.axes import constrain_sharding
from transformer.layers.attention import TokenContext, self_context, source_context
from transformer.models.blocks import (
  DecoderLayer,
  EncoderLayer,
  FinalNorm,
  PositionBias,
  PositionEncoding,
  Stack,
)


def scanned(
  layer: type[nn.Module],
  c: Any,
  remat=lambda layer: layer,
  in_axes=nn.broadcast,
  length: int | None = None,
) -> Any:
  """`layer` repeated along the depth, its parameters stacked along axis `l`.

  Args:
    layer: its call takes the activations and further arguments, and returns the
      activations and one further result, which is stacked.
    c: has `layers` and `unroll`.
    remat: what a layer keeps for the backward pass.
    in_axes: of the further arguments, as in `nn.scan`; all layers share them unless
      stated otherwise.
    length: how often; `c.layers` times if None.
  """
  length = c.layers if length is None else length
  return nn.scan(
    remat(layer),
    variable_axes={"params": 0, "batch_stats": 0},
    split_rngs={"params": True, "dropout": True},
    in_axes=in_axes,
    length=length,
    unroll=min(c.unroll, length),
    metadata_params={nn.PARTITION_NAME: "l"},
  )(c)


class Encoder(nn.Module):
  """N layers over embedded tokens."""

  c: Stack

  def setup(self):
    self.position_encoding = PositionEncoding(self.c)
    self.position_bias = PositionBias(self.c, causal=False)
    self.layers = scanned(EncoderLayer, self.c, self.c.remat)
    self.final_norm = FinalNorm(self.c)

  def __call__(
    self, x_btd, pos_bt, seg_bt, train: bool = False, keep_weights: bool = False
  ):
    """The encoded tokens `[b, t, d]`, and with `keep_weights` the
    `AttentionIntermediates` of all layers, stacked, else None."""
    x_btd = self.position_encoding(x_btd, pos_bt, train, seg_bt != 0)
    x_btd = constrain_sharding("btd", x_btd)
    tokens = self_context(
      pos_bt, seg_bt, self.position_bias(pos_bt, pos_bt), is_causal=False
    )
    x_btd, intermediates = self.layers(x_btd, tokens, train, keep_weights)
    return self.final_norm(x_btd, tokens.real_bt, train), intermediates


class Decoder(nn.Module):
  """N layers over embedded target tokens and an encoded source."""

  c: Any  # an encoder-decoder's `Stack`, with its `decoder_depth`

  def setup(self):
    self.position_encoding = PositionEncoding(self.c)
    self.position_bias = PositionBias(self.c, causal=True)
    depth = self.c.decoder_depth
    self.layers = scanned(DecoderLayer, self.c, self.c.remat, length=depth)
    self.final_norm = FinalNorm(self.c)

  def __call__(
    self, x_btd, pos_bt, seg_bt, y_bsd, source_seg_bs, train: bool = False,
    keep_weights: bool = False,
  ):  # fmt: skip
    """The decoded tokens `[b, t, d]`, and with `keep_weights` the
    `AttentionIntermediates` of self-attention and of attention to the source, each
    stacked over the layers, else None."""
    x_btd = self.position_encoding(x_btd, pos_bt, train, seg_bt != 0)
    x_btd = constrain_sharding("btd", x_btd)
    tokens = self_context(
      pos_bt, seg_bt, self.position_bias(pos_bt, pos_bt), is_causal=True
    )
    source = source_context(seg_bt, source_seg_bs)
    x_btd, intermediates = self.layers(
      x_btd, y_bsd, tokens, source, train, keep_weights
    )
    return self.final_norm(x_btd, tokens.real_bt, train), intermediates

  def step(self, layers, x_bwd, caches, sources, index, origin_bws, source_seg_bs):
    """One token through all layers, whose parameters come one by one in `layers`, so
    that a search loop slices no stacked weight; see `DecoderLayer.step`.

    Args:
      layers: the parameters of each layer.
      x_bwd: embedded tokens, one of every hypothesis.
      caches: a `KVCache` for each layer.
      sources: keys and values of the source for each layer.
      index: the number of the step.
      origin_bws: the beam slot in which each of a hypothesis' tokens was written, this
        one included; -1 for later ones.
      source_seg_bs: segments of the source.

    Returns:
      `[b, w, d]`; the caches; and the weights of the last layer's attention to the
      source, the mean over its heads, `[b, w, s]`.
    """
    b, w, _ = x_bwd.shape
    pos_bw = jnp.broadcast_to(index, (b, w))
    x_bwd = self.position_encoding(x_bwd, pos_bw)
    steps = caches[0].steps
    mask_bwsw = origin_bws[:, :, :steps, None] == jnp.arange(w)[None, None, None, :]
    pos_bs = jnp.broadcast_to(jnp.repeat(jnp.arange(steps), w), (b, steps * w))
    tokens = TokenContext(
      mask_bwsw.reshape(b, w, steps * w),
      self.position_bias(pos_bw, pos_bs),
      pos_bw,
      pos_bs,
    )
    source = TokenContext(source_context(jnp.ones_like(pos_bw), source_seg_bs).mask_bts)
    layer: Any = DecoderLayer(self.c, parent=None)
    written = []
    for params, cache, key_value in zip(layers, caches, sources, strict=True):
      x_bwd, cache, weights_bhws = layer.apply(
        {"params": params}, x_bwd, cache, key_value, tokens, source, index,
        method="step",
      )  # fmt: skip
      written.append(cache)
    return self.final_norm(x_bwd), tuple(written), jnp.mean(weights_bhws, axis=1)
