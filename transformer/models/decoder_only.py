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
from transformer.layers.embedding import Embedding
from transformer.layers.masks import causal, same_segment
from transformer.models.stack import (
  Bias,
  EncoderLayer,
  Last,
  Place,
  feed_forward,
  scanned,
)
from transformer.models.transformer import Transformer, shift_right


@dataclasses.dataclass(frozen=True)
class DecoderOnly(Transformer):
  """The Transformer's decoder without attention to a source; sizes and recipes are the
  Transformer's."""

  def module(self, vocabulary: int, dtype=jnp.float32) -> Any:
    return DecoderOnlyModule(self, vocabulary, dtype)

  def example(self) -> Tokens:
    return Tokens(*(np.ones((1, 2), np.int32),) * 3)


class CausalLayer(EncoderLayer):
  """A layer of self-attention and feed-forward that can go on token by token."""

  causal: ClassVar[bool] = True

  def step(self, x_bwd, cache, pos_bw, bias_bhts):
    """One token of every hypothesis.

    Args:
      x_bwd: the newest token of `w` hypotheses of each of `b` texts.
      cache: keys and values `[b, w, s, h, k]` of each hypothesis' own tokens.
      pos_bw: where the newest token stands, the same for all.
      bias_bhts: position bias with `b = b·w` and `t = 1`, or None.

    Returns:
      `[b, w, d]`, and the cache with this token in it.
    """
    b, w, d = x_bwd.shape
    pos_nt, written = pos_bw.reshape(b * w, 1), []

    def attend(x_bwd):
      x_ntd = x_bwd.reshape(b * w, 1, d)
      k_nshk, v_nshk = self.self_memory(x_ntd)
      k_nshk = self.c.position.rotate(k_nshk, pos_nt)
      for old, new in zip(cache, (k_nshk, v_nshk), strict=True):
        start = (0, 0, pos_bw[0, 0], 0, 0)
        new = new.reshape(b, w, 1, *new.shape[2:])
        written.append(jax.lax.dynamic_update_slice(old, new, start))
      keys, values = (leaf.reshape(b * w, *leaf.shape[2:]) for leaf in written)
      slot_ns = jnp.broadcast_to(jnp.arange(keys.shape[1]), keys.shape[:2])
      y_ntd = self.self_attention(
        x_ntd, keys, values, causal(pos_nt, slot_ns), bias_bhts, pos_nt, slot_ns
      )
      return y_ntd.reshape(b, w, d)

    x_bwd = self.self_join(x_bwd, attend)
    return feed_forward(self, x_bwd, False, None), tuple(written)


class DecoderOnlyModule(nn.Module):
  """Logits of every token of a text given those before it."""

  c: Any  # DecoderOnly
  vocabulary: int
  dtype: Any = jnp.float32

  def setup(self):
    self.embedding = Embedding(self.vocabulary, self.c.d_model, self.c.tying)
    self.place = Place(self.c)
    self.bias = Bias(self.c, causal=True)
    self.layers = scanned(CausalLayer, self.c, 5)(self.c)
    self.last = Last(self.c)

  def __call__(self, batch: Tokens, train: bool = False):
    """Logits `[b, t, v]` in float32 for every token, each computed from the tokens of
    its own example before it; an example begins after `BOS`.

    With `train`, draws from the stream `dropout`.
    """
    return self.logits(self.hidden(batch, train))

  def logits(self, x_btd):
    """The logits of hidden states `[b, t, d]`."""
    return self.embedding.logits(x_btd)

  def hidden(self, batch: Tokens, train: bool = False):
    """What the layers make of every token, `[b, t, d]`."""
    pos_bt, seg_bt = batch.pos_bt, batch.seg_bt
    x_btd = self.place(self.embedding(shift_right(batch), self.dtype), pos_bt, train)
    mask_bts = causal(pos_bt, pos_bt) & same_segment(seg_bt, seg_bt)
    bias_bhts = self.bias(pos_bt, pos_bt)
    x_btd, _ = self.layers(
      constrain_sharding("btd", x_btd), pos_bt, seg_bt, mask_bts, bias_bhts, train
    )
    return self.last(x_btd, seg_bt != 0, train)

  def advance(self, layers, token_bw, state: DecodeState):
    """One decoding step inside `apply`; see `step`."""
    pos_bw, caches = state.cache
    b, w = token_bw.shape
    x_bwd = self.place(self.embedding(token_bw, self.dtype), pos_bw)
    slots = caches[0][0].shape[2]
    slot_ns = jnp.broadcast_to(jnp.arange(slots), (b * w, slots))
    bias_bhts = self.bias(pos_bw.reshape(b * w, 1), slot_ns)
    layer, written = CausalLayer(self.c, parent=None), []
    for params, cache in zip(layers, caches, strict=True):
      x_bwd, cache = layer.apply(
        {"params": params}, x_bwd, cache, pos_bw, bias_bhts, method="step"
      )
      written.append(cache)
    logits_bwv = self.embedding.logits(self.last(x_bwd))
    return logits_bwv, DecodeState((pos_bw + 1, tuple(written)), state.memory)

  @nn.nowrap
  def unstack(self, params):
    """Parameters for decoding: the layers one by one instead of stacked."""
    rest = {name: tree for name, tree in params.items() if name != "layers"}
    layers = tuple(
      jax.tree.map(lambda leaf, i=i: leaf[i], params["layers"])
      for i in range(self.c.layers)
    )
    return {"rest": rest, "layers": layers}

  @nn.nowrap
  def start(self, unstacked, rows: int, capacity: int) -> DecodeState:
    """The state before the first token of `rows` texts; `capacity` is the largest
    number of steps that will follow.

    Its cache leaves are `[b, 1, …]`: positions, and keys and values `[b, 1, s, h, k]`
    of every layer. There is no memory.
    """
    cache = tuple(
      jnp.zeros((rows, 1, capacity, self.c.heads, width), self.dtype)
      for width in (self.c.key_width, self.c.value_width)
    )
    pos_bw = jnp.zeros((rows, 1), jnp.int32)
    return DecodeState((pos_bw, (cache,) * self.c.layers), None)

  @nn.nowrap
  def step(self, unstacked, token_bw, state: DecodeState):
    """Feeds one token to every hypothesis: logits `[b, w, v]` of the next, and the
    state after it. The first token is `BOS`."""
    return self.apply(
      {"params": unstacked["rest"]}, unstacked["layers"], token_bw, state,
      method="advance",
    )  # fmt: skip
