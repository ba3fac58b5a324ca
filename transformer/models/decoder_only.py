"""A Transformer without the encoder: the next token of one text (§3; Radford et al.
2018)."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from transformer.axes import constrain_sharding
from transformer.batch import Tokens
from transformer.decoding.state import DecodeState
from transformer.layers.attention import TokenContext, self_context
from transformer.layers.masks import causal
from transformer.models.base import Attentions, DecodesLayerByLayer, shift_right
from transformer.models.blocks import (
  FinalNorm,
  PositionBias,
  PositionEncoding,
  SelfAttentionLayer,
)
from transformer.models.stack import scanned
from transformer.models.transformer import Transformer


@dataclasses.dataclass(frozen=True)
class DecoderOnly(Transformer):
  """The Transformer's decoder without attention to a source; sizes and recipes are the
  Transformer's."""

  unused: ClassVar[tuple[str, ...]] = ("decoder_layers",)

  def module(self, vocabulary: int, dtype=jnp.float32) -> Any:
    return DecoderOnlyModule(self, vocabulary, dtype)

  def example(self) -> Any:
    return Tokens(*(np.ones((1, 2), np.int32),) * 3)


class CausalLayer(SelfAttentionLayer):
  """Causal self-attention and feed-forward, over whole texts or token by token."""

  causal: ClassVar[bool] = True

  def step(self, x_bwd, cache, tokens: TokenContext, index):
    """One token of every hypothesis.

    Args:
      x_bwd: the newest token of `w` hypotheses of each of `b` texts.
      cache: keys and values `[b, w, s, h, k]` of each hypothesis' own tokens.
      tokens: the context, with `b = b·w` and `t = 1`.
      index: the number of the step, where the cache is written.

    Returns:
      `[b, w, d]`, and the cache with this token in it.
    """
    b, w, d = x_bwd.shape

    def self_attention(x_bwd):
      x_ntd = x_bwd.reshape(b * w, 1, d)
      written = tuple(
        jax.lax.dynamic_update_slice(
          old, new.reshape(b, w, 1, *new.shape[2:]), (0, 0, index, 0, 0)
        )
        for old, new in zip(
          cache, self.keys_and_values(x_ntd, tokens.q_pos_bt), strict=True
        )
      )
      keys, values = (leaf.reshape(b * w, *leaf.shape[2:]) for leaf in written)
      y_ntd, _ = self.self_attention(x_ntd, keys, values, tokens)
      return y_ntd.reshape(b, w, d), written

    x_bwd, written = self.self_sublayer(x_bwd, self_attention)
    return self.feed_forward_block(x_bwd), written


class DecoderOnlyModule(DecodesLayerByLayer, nn.Module):
  """Logits of every token of a text given those before it."""

  c: DecoderOnly
  vocabulary: int
  dtype: Any = jnp.float32

  decoder_layers: ClassVar[tuple[str, ...]] = ("layers",)

  def setup(self):
    self.embedding = self.c.embedding(self.vocabulary)
    self.position_encoding = PositionEncoding(self.c)
    self.position_bias = PositionBias(self.c, causal=True)
    self.layers = self.stack()
    self.final_norm = FinalNorm(self.c)

  @nn.nowrap
  def stack(self) -> Any:
    """The layers."""
    return scanned(CausalLayer, self.c, self.c.remat)

  def __call__(self, batch: Any, train: bool = False):
    """Logits `[b, t, v]` in float32 for every token of `batch`, which are `Tokens`,
    each computed from the tokens of its own example before it; an example begins after
    the model's `start_id`.

    With `train`, draws from the stream `dropout`.
    """
    return self.logits(self.hidden(batch, train))

  def logits(self, x_btd):
    """The logits of hidden states `[b, t, d]`."""
    return self.embedding.logits(x_btd)

  def hidden(self, batch: Any, train: bool = False):
    """The output of the layers for every token, `[b, t, d]`."""
    return self.decode(batch, train)[0]

  def attention(self, batch: Any) -> Attentions:
    """See `models.base.Attends`."""
    return {"self_attention": self.decode(batch, keep_weights=True)[1]}

  def decode(self, batch: Tokens, train: bool = False, keep_weights: bool = False):
    """The output of the layers for every token, `[b, t, d]`, and with `keep_weights`
    the `AttentionIntermediates` of all layers, stacked, else None."""
    pos_bt, seg_bt = batch.pos_bt, batch.seg_bt
    x_btd = self.embedding(shift_right(batch, self.c.start_id), self.dtype)
    x_btd = self.position_encoding(x_btd, pos_bt, train, seg_bt != 0)
    tokens = self_context(
      pos_bt, seg_bt, self.position_bias(pos_bt, pos_bt), is_causal=True
    )
    x_btd, intermediates = self.layers(
      constrain_sharding("btd", x_btd), tokens, train, keep_weights
    )
    return self.final_norm(x_btd, tokens.real_bt, train), intermediates

  def advance(self, layers, token_bw, state: DecodeState):
    """One decoding step inside `apply`; see `step`."""
    b, w = token_bw.shape
    pos_bw = jnp.broadcast_to(state.index, (b, w))
    x_bwd = self.position_encoding(self.embedding(token_bw, self.dtype), pos_bw)
    steps = state.cache[0][0].shape[2]
    pos_nt, pos_ns = pos_bw.reshape(b * w, 1), jnp.arange(steps)
    pos_ns = jnp.broadcast_to(pos_ns, (b * w, steps))
    bias_bhts = self.position_bias(pos_nt, pos_ns)
    tokens = TokenContext(causal(pos_nt, pos_ns), bias_bhts, pos_nt, pos_ns)
    layer, written = CausalLayer(self.c, parent=None), []
    for params, cache in zip(layers, state.cache, strict=True):
      x_bwd, cache = layer.apply(
        {"params": params}, x_bwd, cache, tokens, state.index, method="step"
      )
      written.append(cache)
    return self.embedding.logits(self.final_norm(x_bwd)), state.after(tuple(written))

  @nn.nowrap
  def start(self, params, rows: int, capacity: int) -> DecodeState:
    """The state before the first token of `rows` texts; `capacity` is the largest
    number of steps that will follow.

    Its cache has keys and values `[b, 1, s, h, k]` of every layer; nothing is encoded.
    """
    cache = tuple(
      jnp.zeros((rows, 1, capacity, self.c.heads, width), self.dtype)
      for width in (self.c.key_width, self.c.value_width)
    )
    return DecodeState((cache,) * self.c.layers, None)
