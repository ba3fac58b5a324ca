"""Convolutions in place of recurrence (Gehring et al. 2017)."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import linen as nn

from transformer.batch import Pairs, Tokens
from transformer.decoding.state import DecodeState
from transformer.layers.convolution import (
  GatedConvolution,
  attend,
  scale_gradient,
  weigh,
  windows,
)
from transformer.layers.dropout import dropout
from transformer.layers.embedding import Embedding, Logits
from transformer.layers.linear import project, weight
from transformer.layers.masks import same_segment
from transformer.models.base import EncoderDecoder, Model
from transformer.models.transformer import shift_right

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
    kernel: places of a window; odd, so that the encoder's has a middle.
    positions: how many places have a vector of their own; those beyond share the last.
    dropout: on embeddings, on what a block reads and before the logits.
    unroll: a speed setting: how many blocks are compiled as one piece.
  """

  layers: int = 20
  d_model: int = 512
  d_hidden: int = 512
  kernel: int = 3
  positions: int = 1024
  dropout: float = 0.1
  unroll: int = 1

  def __post_init__(self):
    for name in ("layers", "d_model", "d_hidden", "kernel", "positions", "unroll"):
      if getattr(self, name) < 1:
        raise ValueError(f"model.{name}: {getattr(self, name)} is less than 1")
    if self.kernel % 2 == 0:
      raise ValueError(f"model.kernel: {self.kernel} is even; windows have a middle")
    if not 0.0 <= self.dropout < 1.0:
      raise ValueError(f"model.dropout: {self.dropout} is not in [0, 1)")

  @property
  def width(self) -> int:
    return self.d_model

  def module(self, vocabulary: int, dtype=jnp.float32) -> "ConvSeq2SeqModule":
    return ConvSeq2SeqModule(self, vocabulary, dtype)


class Dense(nn.Module):
  """A linear layer with a bias."""

  width: int

  @nn.compact
  def __call__(self, x_btd):
    return project(self, "w", "btd,df->btf", x_btd, f=self.width, bias=True)


class Place(nn.Module):
  """Embedded tokens, and a learned vector for each place, added (§3.1)."""

  c: ConvSeq2Seq
  vocabulary: int

  def setup(self):
    shape = (self.c.positions, self.c.d_model)
    init = nn.initializers.normal(EMBEDDED)
    self.embedding = Embedding(self.vocabulary, self.c.d_model)
    self.position_pd = weight(self, "position", "pd", shape, init)

  def __call__(self, id_bt, pos_bt, dtype, train=False):
    """`[b, t, d]`."""
    place_bt = jnp.minimum(pos_bt, self.c.positions - 1)
    x_btd = EMBEDDED * self.embedding(id_bt, dtype)
    x_btd = x_btd + jnp.take(self.position_pd, place_bt, axis=0).astype(dtype)
    return dropout(self, x_btd, self.c.dropout, train)


class EncoderBlock(nn.Module):
  """A gated convolution around each token, added to it."""

  c: ConvSeq2Seq

  @nn.compact
  def __call__(self, x_btf, seg_bt, train=False):
    """One block over `[b, t, f]`; the second result is scan's, and empty."""
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

  def __call__(self, x_btf, seg_bt, token_btd, source, mask_bts, train=False):
    """One block over `[b, t, f]`; the second result is scan's, and empty.

    Args:
      x_btf: the stream.
      seg_bt: its segments.
      token_btd: the embedded tokens, part of every query.
      source: keys and values `[b, s, d]`.
      mask_bts: which source tokens each may look at.
      train: turns dropout on.
    """
    y_btf = dropout(self, x_btf, self.c.dropout, train)
    y_btnf = windows(y_btf, seg_bt, range(1 - self.c.kernel, 1))
    return self.join(x_btf, y_btnf, token_btd, source, mask_bts), None

  def step(self, x_bwf, before_bwnf, token_bwd, source, mask_bws):
    """One token of every hypothesis, given what the block read before it; the stream,
    and what the next token is given."""
    x_bwnf = jnp.concatenate([before_bwnf, x_bwf[:, :, None]], axis=2)
    y_bwf = self.join(x_bwf, x_bwnf, token_bwd, source, mask_bws)
    return y_bwf, x_bwnf[:, :, 1:]

  def join(self, x_btf, window_btnf, token_btd, source, mask_bts):
    """The convolution, what its output finds in the source, and the stream (§3.3)."""
    key_bsd, value_bsd = source
    y_btf = self.convolution(window_btnf)
    query_btd = HALF * (self.query(y_btf) + token_btd)
    weights_bts = weigh(query_btd, key_bsd, mask_bts)
    self.sow("intermediates", "weights", weights_bts)
    found_btd = attend(weights_bts, value_bsd, mask_bts)
    y_btf = HALF * (y_btf + self.context(found_btd))
    return HALF * (x_btf + y_btf)


class ConvSeq2SeqModule(EncoderDecoder):
  """Logits of every target token given its source and its past."""

  c: ConvSeq2Seq

  def setup(self):
    c = self.c
    self.source_place = Place(c, self.vocabulary)
    self.target_place = Place(c, self.vocabulary)
    self.encoder_in, self.encoder_out = Dense(c.d_hidden), Dense(c.d_model)
    self.decoder_in, self.decoder_out = Dense(c.d_hidden), Dense(c.d_model)
    self.encoder = blocks(EncoderBlock, c, 2)(c)
    self.decoder = blocks(DecoderBlock, c, 5)(c)
    self.output = Logits(self.vocabulary)

  def hidden(self, batch: Pairs, train: bool = False):
    """What the decoder makes of every token of `batch.target`, `[b, t, d]`."""
    source, target = batch
    read = self.encode(source, train)
    token_btd = self.target_place(shift_right(target), target.pos_bt, self.dtype, train)
    mask_bts = same_segment(target.seg_bt, source.seg_bt)
    x_btf, _ = self.decoder(
      self.decoder_in(token_btd), target.seg_bt, token_btd, read, mask_bts, train
    )
    return self.out(x_btf, train)

  def encode(self, source: Tokens, train: bool = False):
    """Keys, and values that also have the embedded tokens, `[b, s, d]` (§3.3).

    All blocks of the decoder read them, so the gradient that comes back to the blocks
    of the encoder is divided by their number (§3.5).
    """
    token_bsd = self.source_place(source.id_bt, source.pos_bt, self.dtype, train)
    x_bsf, _ = self.encoder(self.encoder_in(token_bsd), source.seg_bt, train)
    key_bsd = scale_gradient(self.encoder_out(x_bsf), 1.0 / self.c.layers)
    return key_bsd, HALF * (key_bsd + token_bsd)

  def out(self, x_btf, train: bool = False):
    """What the logits are made from, of the decoder's stream (§3.3)."""
    y_btd = self.decoder_out(x_btf)
    return dropout(self, y_btd, self.c.dropout, train)

  def advance(self, layers, token_bw, state: DecodeState):
    """One decoding step inside `apply`; see `step`."""
    pos_bw, windows_before = state.cache
    read, source_seg_bs = state.memory
    token_bwd = self.target_place(token_bw, pos_bw, self.dtype)
    mask_bws = same_segment(jnp.ones_like(token_bw), source_seg_bs)
    x_bwf, kept = self.decoder_in(token_bwd), []
    block = DecoderBlock(self.c, parent=None)
    for params, before in zip(layers, windows_before, strict=True):
      (x_bwf, after), seen = block.apply(
        {"params": params}, x_bwf, before, token_bwd, read, mask_bws, method="step",
        mutable=["intermediates"],
      )  # fmt: skip
      kept.append(after)
    (weights_bws,) = seen["intermediates"]["weights"]
    logits_bwv = self.logits(self.out(x_bwf))
    return logits_bwv, state.after((pos_bw + 1, tuple(kept)), weights_bws)

  @nn.nowrap
  def unstack(self, params):
    """Parameters for decoding: the decoder's blocks one by one instead of stacked."""
    rest = {name: tree for name, tree in params.items() if name != "decoder"}
    layers = tuple(
      jax.tree.map(lambda leaf, i=i: leaf[i], params["decoder"])
      for i in range(self.c.layers)
    )
    return {"rest": rest, "layers": layers}

  @nn.nowrap
  def start(self, unstacked, source: Tokens, capacity: int) -> DecodeState:
    """Reads the sources, `[b, s]`, one unpacked example a row.

    Returns:
      The state before the first step: places `[b, 1]` and, of every block, the
      `kernel - 1` tokens that it read last, `[b, 1, n, f]`; in memory, keys and values
      `[b, s, d]`. There is no limit to the number of steps.
    """
    c, b = self.c, source.id_bt.shape[0]
    read = self.apply({"params": unstacked["rest"]}, source, method="encode")
    nothing_bwnf = jnp.zeros((b, 1, c.kernel - 1, c.d_hidden), self.dtype)
    cache = (jnp.zeros((b, 1), jnp.int32), (nothing_bwnf,) * c.layers)
    return DecodeState(cache, (read, source.seg_bt))

  @nn.nowrap
  def step(self, unstacked, token_bw, state: DecodeState):
    """Feeds one token to every hypothesis: logits `[b, w, v]` of the next, and the
    state after it. The first token is `BOS`."""
    return self.apply(
      {"params": unstacked["rest"]}, unstacked["layers"], token_bw, state,
      method="advance",
    )  # fmt: skip


def blocks(block, c: ConvSeq2Seq, broadcasts: int):
  """`block` repeated `c.layers` times, its parameters stacked along axis `l`."""
  return nn.scan(
    block,
    variable_axes={"params": 0, "intermediates": 0},
    split_rngs={"params": True, "dropout": True},
    in_axes=(nn.broadcast,) * broadcasts,
    length=c.layers,
    unroll=min(c.unroll, c.layers),
    metadata_params={nn.PARTITION_NAME: "l"},
  )
