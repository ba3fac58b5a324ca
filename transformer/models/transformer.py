"""The Transformer of the paper: an encoder, a decoder, one embedding (§3)."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import linen as nn

from transformer.batch import BOS, Pairs, Tokens
from transformer.decoding.state import DecodeState, Slots
from transformer.layers.embedding import Embedding, Tying
from transformer.models.base import EncoderDecoder
from transformer.models.stack import Decoder, DecoderLayer, Encoder, Stack


@dataclasses.dataclass(frozen=True)
class Transformer(Stack):
  """The encoder-decoder of Vaswani et al. 2017; the defaults are its base model."""

  tying: Tying = Tying()

  def module(self, vocabulary: int, dtype=jnp.float32) -> "TransformerModule":
    return TransformerModule(self, vocabulary, dtype)


class TransformerModule(EncoderDecoder):
  """Logits of every target token given its source and its past."""

  c: Transformer

  def setup(self):
    self.embedding = Embedding(self.vocabulary, self.c.d_model, self.c.tying)
    self.encoder = Encoder(self.c)
    self.decoder = Decoder(self.c)

  def logits(self, x_btd):
    """The logits of hidden states `[b, t, d]`."""
    return self.embedding.logits(x_btd)

  def hidden(self, batch: Pairs, train: bool = False):
    """What the decoder makes of every token of `batch.target`, `[b, t, d]`."""
    y_bsd = self.encode(batch.source, train)
    target = batch.target
    x_btd = self.embedding(shift_right(target), self.dtype)
    return self.decoder(
      x_btd, target.pos_bt, target.seg_bt, y_bsd, batch.source.seg_bt, train
    )

  def encode(self, source: Tokens, train: bool = False):
    """The encoded source, `[b, s, d]`."""
    x_btd = self.embedding.source(source.id_bt, self.dtype)
    return self.encoder(x_btd, source.pos_bt, source.seg_bt, train)

  def advance(self, layers, token_bw, state: DecodeState):
    """One decoding step inside `apply`; see `step`."""
    pos_bw, origin_bws, caches = state.cache
    sources, source_seg_bs = state.memory
    place_w1 = jnp.arange(pos_bw.shape[1], dtype=jnp.int32)[:, None]
    place_bw1 = jnp.broadcast_to(place_w1, (*pos_bw.shape, 1))
    origin_bws = jax.lax.dynamic_update_slice_in_dim(
      origin_bws, place_bw1, pos_bw[0, 0], 2
    )
    x_bwd = self.embedding(token_bw, self.dtype)
    x_bwd, caches, weight_bws = self.decoder.step(
      layers, x_bwd, caches, sources, pos_bw, origin_bws, source_seg_bs
    )
    logits_bwv = self.embedding.logits(x_bwd)
    return logits_bwv, state.after((pos_bw + 1, origin_bws, caches), weight_bws)

  @nn.nowrap
  def unstack(self, params):
    """Parameters for decoding: the decoder's layers one by one instead of stacked.

    A search loop would otherwise slice every weight out of its stack at every token.
    """
    decoder = dict(params["decoder"])
    stacked = decoder.pop("layers")
    layers = tuple(
      jax.tree.map(lambda leaf, i=i: leaf[i], stacked) for i in range(self.c.layers)
    )
    return {"rest": {**params, "decoder": decoder}, "layers": layers}

  @nn.nowrap
  def start(self, unstacked, source: Tokens, capacity: int) -> DecodeState:
    """Reads the sources, `[b, s]`, one unpacked example a row.

    Args:
      unstacked: from `unstack`.
      source: the source tokens.
      capacity: the largest number of steps that will follow.

    Returns:
      The state before the first step. Its cache is positions `[b, 1]`, origins
      `[b, 1, s]`, and `Slots` of keys and values of every layer; see `Decoder.step`.
      Its memory leaves are `[b, …]`.
    """
    rest, layers = unstacked["rest"], unstacked["layers"]
    y_bsd = self.apply({"params": rest}, source, method="encode")
    layer = DecoderLayer(self.c, parent=None)
    sources = tuple(
      layer.apply({"params": params}, y_bsd, method="remember") for params in layers
    )
    b, h = source.id_bt.shape[0], self.c.heads
    k_bhks = jnp.zeros((b, h, self.c.key_width, capacity), self.dtype)
    v_bhsk = jnp.zeros((b, h, capacity, self.c.value_width), self.dtype)
    layer_cache = Slots(k_bhks, axis=3), Slots(v_bhsk, axis=2)
    pos_bw = jnp.zeros((b, 1), jnp.int32)
    origin_bws = jnp.full((b, 1, capacity), -1, jnp.int32)
    cache = pos_bw, origin_bws, (layer_cache,) * self.c.layers
    return DecodeState(cache, (sources, source.seg_bt))

  @nn.nowrap
  def step(self, unstacked, token_bw, state: DecodeState):
    """Feeds one token to every hypothesis: logits `[b, w, v]` of the next, and the
    state after it. The first token is `BOS`."""
    return self.apply(
      {"params": unstacked["rest"]}, unstacked["layers"], token_bw, state,
      method="advance",
    )  # fmt: skip


def shift_right(target: Tokens):
  """What the decoder reads `[b, t]`: each example's tokens one place later, after
  `BOS` (§3.1)."""
  before_bt = jnp.roll(target.id_bt, 1, axis=1)
  return jnp.where(target.pos_bt == 0, BOS, before_bt)
