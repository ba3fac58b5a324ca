"""Convolutions in place of recurrence (Gehring et al. 2017)."""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from flax import linen as nn

from transformer.batch import Pairs, Tokens
from transformer.decoding.state import DecodeState
from transformer.layers.attention import AttentionIntermediates
from transformer.layers.convolution import (
  GatedConvolution,
  attend,
  attention_weights,
  scale_gradient,
  windows,
)
from transformer.layers.dropout import dropout
from transformer.layers.embedding import Embedding, Logits
from transformer.layers.linear import project, weight
from transformer.layers.masks import same_segment
from transformer.models.base import (
  Attentions,
  DecodesLayerByLayer,
  EncoderDecoder,
  Model,
  check_settings,
  shift_right,
)
from transformer.models.stack import scanned

HALF = 0.5**0.5
"""Keeps the variance of a sum of two (§3.5)."""

EMBEDDED = 0.1
"""Standard deviation with which embeddings and positions begin (§3.5)."""


@dataclasses.dataclass(frozen=True)
class ConvSeq2Seq(Model):
  """The encoder-decoder of Gehring et al. 2017; the defaults are its sizes for WMT16
  English to Romanian (§4.2).

  Attributes:
    layers: blocks of the encoder, and of the decoder.
    d_model: width of embedded tokens.
    d_hidden: width of the blocks.
    kernel: tokens in a window; odd, so that the encoder's has a middle.
    positions: how many positions have a vector; later ones share the last.
    dropout: on embeddings, on the inputs of blocks and before the logits.
    unroll: a speed setting: how many blocks are compiled as one.
  """

  layers: int = 20
  d_model: int = 512
  d_hidden: int = 512
  kernel: int = 3
  positions: int = 1024
  dropout: float = 0.1
  unroll: int = 1

  def __post_init__(self):
    check_settings(
      self,
      ("layers", "d_model", "d_hidden", "kernel", "positions", "unroll"),
      ("dropout",),
    )
    if self.kernel % 2 == 0:
      raise ValueError(f"model.kernel: expected an odd number, got {self.kernel}")

  @property
  def width(self) -> int:
    return self.d_model

  @property
  def position_table_length(self) -> int:
    return self.positions

  def module(self, vocabulary: int, dtype=jnp.float32) -> "ConvSeq2SeqModule":
    return ConvSeq2SeqModule(self, vocabulary, dtype)


class Dense(nn.Module):
  """A linear layer with a bias."""

  width: int

  @nn.compact
  def __call__(self, x_btd):
    return project(self, "w", "btd,df->btf", x_btd, f=self.width, bias=True)


class PositionedEmbedding(nn.Module):
  """Embedded tokens plus a learned vector for each position (§3.1)."""

  c: ConvSeq2Seq
  vocabulary: int

  def setup(self):
    shape = (self.c.positions, self.c.d_model)
    init = nn.initializers.normal(EMBEDDED)
    self.embedding = Embedding(self.vocabulary, self.c.d_model)
    self.position_pd = weight(self, "position", "pd", shape, init)

  def __call__(self, id_bt, pos_bt, dtype, train=False):
    """`[b, t, d]`."""
    index_bt = jnp.minimum(pos_bt, self.c.positions - 1)
    x_btd = EMBEDDED * self.embedding(id_bt, dtype)
    x_btd = x_btd + jnp.take(self.position_pd, index_bt, axis=0).astype(dtype)
    return dropout(self, x_btd, self.c.dropout, train)


class TargetContext(NamedTuple):
  """What all blocks of the decoder read besides the activations.

  Attributes:
    token_btd: the embedded tokens, part of every query.
    source: keys and values `[b, s, d]`.
    source_mask_bts: True where attention to the source is allowed.
    seg_bt: segments of the target, for windows over whole rows.
  """

  token_btd: Any
  source: Any
  source_mask_bts: Any
  seg_bt: Any = None


class EncoderBlock(nn.Module):
  """A gated convolution around each token, added to it."""

  c: ConvSeq2Seq

  @nn.compact
  def __call__(self, x_btf, seg_bt, train: bool = False):
    """One block over `[b, t, f]`; `nn.scan` asks for a second result."""
    c, reach = self.c, self.c.kernel // 2
    y_btf = dropout(self, x_btf, c.dropout, train)
    y_btnf = windows(y_btf, seg_bt, range(-reach, reach + 1))
    y_btf = GatedConvolution(c.d_hidden, 1.0 - c.dropout)(y_btnf)
    return HALF * (x_btf + y_btf), None


class DecoderBlock(nn.Module):
  """A gated convolution over each token and those before it, and attention of the
  block's own to the source."""

  c: ConvSeq2Seq

  def setup(self):
    self.convolution = GatedConvolution(self.c.d_hidden, 1.0 - self.c.dropout)
    self.query = Dense(self.c.d_model)
    self.context = Dense(self.c.d_hidden)

  def __call__(
    self,
    x_btf,
    target: "TargetContext",
    train: bool = False,
    keep_weights: bool = False,
  ):
    """One block over `[b, t, f]`, and with `keep_weights` its attention weights
    `[b, t, s]`, else None: `nn.scan` would stack them for all blocks."""
    y_btf = dropout(self, x_btf, self.c.dropout, train)
    window_btnf = windows(y_btf, target.seg_bt, range(1 - self.c.kernel, 1))
    x_btf, weights_bts = self.convolve_and_attend(x_btf, window_btnf, target)
    return x_btf, weights_bts if keep_weights else None

  def step(self, x_bwf, before_bwnf, target: "TargetContext"):
    """One token of every hypothesis after the tokens `before_bwnf` of its window: the
    output `[b, w, f]`, the window of the next token, and the attention weights."""
    x_bwnf = jnp.concatenate([before_bwnf, x_bwf[:, :, None]], axis=2)
    y_bwf, weights_bws = self.convolve_and_attend(x_bwf, x_bwnf, target)
    return y_bwf, x_bwnf[:, :, 1:], weights_bws

  def convolve_and_attend(self, x_btf, window_btnf, target: "TargetContext"):
    """The convolution, its attention to the source, and both residual connections
    (§3.3): the output `[b, t, f]`, and the attention weights `[b, t, s]`."""
    key_bsd, value_bsd = target.source
    y_btf = self.convolution(window_btnf)
    query_btd = HALF * (self.query(y_btf) + target.token_btd)
    weights_bts = attention_weights(query_btd, key_bsd, target.source_mask_bts)
    context_btd = attend(weights_bts, value_bsd, target.source_mask_bts)
    y_btf = HALF * (y_btf + self.context(context_btd))
    return HALF * (x_btf + y_btf), weights_bts


class ConvSeq2SeqModule(DecodesLayerByLayer, EncoderDecoder):
  """Logits of every target token given its source and the target tokens before it."""

  c: ConvSeq2Seq

  decoder_layers: ClassVar[tuple[str, ...]] = ("decoder",)

  def setup(self):
    c = self.c
    self.source_positioned_embedding = PositionedEmbedding(c, self.vocabulary)
    self.target_positioned_embedding = PositionedEmbedding(c, self.vocabulary)
    self.encoder_in, self.encoder_out = Dense(c.d_hidden), Dense(c.d_model)
    self.decoder_in, self.decoder_out = Dense(c.d_hidden), Dense(c.d_model)
    self.encoder = scanned(EncoderBlock, c)
    self.decoder = scanned(DecoderBlock, c)
    self.output = Logits(self.vocabulary)

  def hidden(self, batch: Pairs, train: bool = False):
    """The decoder's output for every token of `batch.target`, `[b, t, d]`."""
    return self.decode(batch, train)[0]

  def attention(self, batch: Pairs) -> Attentions:
    """See `models.base.Attends`; every block of the decoder has one head."""
    _, weights_lbts = self.decode(batch, keep_weights=True)
    weights_lbhts = weights_lbts[:, :, None]
    return {"decoder/source_attention": AttentionIntermediates(weights_lbhts)}

  def decode(self, batch: Pairs, train: bool = False, keep_weights: bool = False):
    """The output `[b, t, d]`, and with `keep_weights` the attention weights of all
    blocks, `[l, b, t, s]`, else None."""
    source, target = batch
    encoded = self.encode(source, train)
    token_btd = self.target_positioned_embedding(
      shift_right(target), target.pos_bt, self.dtype, train
    )
    mask_bts = same_segment(target.seg_bt, source.seg_bt)
    context = TargetContext(token_btd, encoded, mask_bts, target.seg_bt)
    x_btf, weights_lbts = self.decoder(
      self.decoder_in(token_btd), context, train, keep_weights
    )
    return self.out(x_btf, train), weights_lbts

  def encode(self, source: Tokens, train: bool = False):
    """Keys, and values that also have the embedded tokens, `[b, s, d]` (§3.3).

    All blocks of the decoder read them, so the gradient of the encoder is divided by
    their number (§3.5).
    """
    token_bsd = self.source_positioned_embedding(
      source.id_bt, source.pos_bt, self.dtype, train
    )
    x_bsf, _ = self.encoder(self.encoder_in(token_bsd), source.seg_bt, train)
    key_bsd = scale_gradient(self.encoder_out(x_bsf), 1.0 / self.c.layers)
    return key_bsd, HALF * (key_bsd + token_bsd)

  def out(self, x_btf, train: bool = False):
    """The inputs of the logits, from the output of the decoder (§3.3)."""
    y_btd = self.decoder_out(x_btf)
    return dropout(self, y_btd, self.c.dropout, train)

  def advance(self, layers, token_bw, state: DecodeState):
    """One decoding step inside `apply`; see `step`."""
    encoded, source_seg_bs = state.encoded
    pos_bw = jnp.broadcast_to(state.index, token_bw.shape)
    token_bwd = self.target_positioned_embedding(token_bw, pos_bw, self.dtype)
    mask_bws = same_segment(jnp.ones_like(token_bw), source_seg_bs)
    context = TargetContext(token_bwd, encoded, mask_bws)
    x_bwf, kept = self.decoder_in(token_bwd), []
    block: Any = DecoderBlock(self.c, parent=None)
    for params, before in zip(layers, state.cache, strict=True):
      x_bwf, after, weights_bws = block.apply(
        {"params": params}, x_bwf, before, context, method="step"
      )
      kept.append(after)
    return self.logits(self.out(x_bwf)), state.after(tuple(kept), weights_bws)

  @nn.nowrap
  def start(self, params, source: Tokens, capacity: int) -> DecodeState:
    """Encodes the sources, `[b, s]`, one unpacked example a row.

    Returns:
      The state before the first step: of every block, the last `kernel - 1` tokens that
      it has read, `[b, 1, n, f]`; encoded are keys and values `[b, s, d]`. The number
      of steps is not limited.
    """
    c, b = self.c, source.id_bt.shape[0]
    encoded = self.apply({"params": params["rest"]}, source, method="encode")
    empty_bwnf = jnp.zeros((b, 1, c.kernel - 1, c.d_hidden), self.dtype)
    return DecodeState((empty_bwnf,) * c.layers, (encoded, source.seg_bt))
