"""The Transformer of the paper: an encoder, a decoder, one embedding (§3)."""

import dataclasses
from typing import Any, ClassVar

import jax.numpy as jnp
from flax import linen as nn

from transformer.batch import BOS, Pairs, Tokens
from transformer.config import check_at_least
from transformer.decoding.state import DecodeState, KVCache, written_slots
from transformer.layers.embedding import Embedding, Tying
from transformer.models.base import (
  Attentions,
  DecodesLayerByLayer,
  EncoderDecoder,
  shift_right,
)
from transformer.models.blocks import DecoderLayer, Stack
from transformer.models.stack import Decoder, Encoder


@dataclasses.dataclass(frozen=True)
class Transformer(Stack):
  """The encoder-decoder of Vaswani et al. 2017; the defaults are its base model.

  Attributes:
    tying: which of the matrices of the vocabulary are one.
    decoder_layers: depth of the decoder; 0 stands for `layers`, that of the encoder.
    start_id: the token that the decoder reads first.
    logits_bias: adds a bias to the logits.
    absent_ids: ids of the vocabulary that are no tokens (see `Embedding`).
  """

  tying: Tying = Tying()
  decoder_layers: int = 0
  start_id: int = BOS
  logits_bias: bool = False
  absent_ids: tuple[int, ...] = ()

  unused: ClassVar[tuple[str, ...]] = ()
  """Settings that a subclass has no use for."""

  def __post_init__(self):
    super().__post_init__()
    for name in ("decoder_layers", "start_id"):
      check_at_least(f"model.{name}", getattr(self, name), 0)
    if min(self.absent_ids, default=0) < 0 or self.start_id in self.absent_ids:
      raise ValueError(
        "model.absent_ids: expected ids of 0 or more without model.start_id "
        f"{self.start_id}, got {self.absent_ids}"
      )
    for name in self.unused:
      default = getattr(Transformer, name)
      if getattr(self, name) != default:
        kind = type(self).__name__
        raise ValueError(f"model.{name}: {kind} has no use for it; leave it {default}")

  @property
  def decoder_depth(self) -> int:
    """The number of layers of the decoder."""
    return self.decoder_layers or self.layers

  def embedding(self, vocabulary: int) -> Embedding:
    """The matrices of the vocabulary."""
    return Embedding(
      vocabulary, self.d_model, self.tying, self.logits_bias, self.absent_ids
    )

  def module(self, vocabulary: int, dtype=jnp.float32) -> Any:
    return TransformerModule(self, vocabulary, dtype)


class TransformerModule(DecodesLayerByLayer, EncoderDecoder):
  """Logits of every target token given its source and the target tokens before it."""

  c: Transformer

  decoder_layers: ClassVar[tuple[str, ...]] = ("decoder", "layers")

  def setup(self):
    self.embedding = self.c.embedding(self.vocabulary)
    self.encoder = Encoder(self.c)
    self.decoder = Decoder(self.c)

  def logits(self, x_btd):
    """The logits of hidden states `[b, t, d]`."""
    return self.embedding.logits(x_btd)

  def hidden(self, batch: Pairs, train: bool = False):
    """The decoder's output for every token of `batch.target`, `[b, t, d]`."""
    y_bsd = self.encode(batch.source, train)
    return self.decode(batch, y_bsd, train)[0]

  def attention(self, batch: Pairs) -> Attentions:
    """See `models.base.Attends`; the target is read as a whole."""
    y_bsd, of_encoder = self.encoded(batch.source, keep_weights=True)
    _, (to_target, to_source) = self.decode(batch, y_bsd, keep_weights=True)
    return {
      "encoder/self_attention": of_encoder,
      "decoder/self_attention": to_target,
      "decoder/source_attention": to_source,
    }

  def decode(self, batch: Pairs, y_bsd, train=False, keep_weights=False):
    """See `Decoder`; `y_bsd` is the encoded source."""
    target = batch.target
    x_btd = self.embedding(shift_right(target, self.c.start_id), self.dtype)
    return self.decoder(
      x_btd, target.pos_bt, target.seg_bt, y_bsd, batch.source.seg_bt, train,
      keep_weights,
    )  # fmt: skip

  def encode(self, source: Tokens, train: bool = False):
    """The encoded source, `[b, s, d]`."""
    return self.encoded(source, train)[0]

  def encoded(self, source: Tokens, train: bool = False, keep_weights: bool = False):
    """See `Encoder`."""
    x_bsd = self.embedding.source(source.id_bt, self.dtype)
    return self.encoder(x_bsd, source.pos_bt, source.seg_bt, train, keep_weights)

  def advance(self, layers, token_bw, state: DecodeState):
    """One decoding step inside `apply`; see `step`."""
    origin_bws, caches = state.cache
    sources, source_seg_bs = state.encoded
    origin_bws = written_slots(origin_bws, state.index)
    x_bwd = self.embedding(token_bw, self.dtype)
    x_bwd, caches, weight_bws = self.decoder.step(
      layers, x_bwd, caches, sources, state.index, origin_bws, source_seg_bs
    )
    return self.embedding.logits(x_bwd), state.after((origin_bws, caches), weight_bws)

  @nn.nowrap
  def start(self, params, source: Tokens, capacity: int) -> DecodeState:
    """Encodes the sources, `[b, s]`, one unpacked example a row.

    Args:
      params: from `unstack`.
      source: the source tokens.
      capacity: the largest number of steps that will follow.

    Returns:
      The state before the first step. Its cache is the origins `[b, 1, s]` and a
      `KVCache` for each layer; `encoded` are keys and values of the source for each
      layer, and the segments of the source.
    """
    rest, layers = params["rest"], params["layers"]
    y_bsd = self.apply({"params": rest}, source, method="encode")
    layer = DecoderLayer(self.c, parent=None)
    sources = tuple(
      layer.apply({"params": own}, y_bsd, method="encode_source") for own in layers
    )
    b, c = source.id_bt.shape[0], self.c
    layer_cache = KVCache.zeros(
      b, c.heads, c.key_width, c.value_width, capacity, self.dtype
    )
    origin_bws = jnp.full((b, 1, capacity), -1, jnp.int32)
    cache = origin_bws, (layer_cache,) * c.decoder_depth
    return DecodeState(cache, (sources, source.seg_bt))
