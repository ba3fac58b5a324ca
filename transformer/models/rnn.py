"""Two recurrent networks and one vector between them (Sutskever et al. 2014)."""

import dataclasses

import jax.numpy as jnp
from flax import linen as nn

from transformer.batch import Pairs, Tokens
from transformer.decoding.state import DecodeState
from transformer.layers.dropout import dropout
from transformer.layers.embedding import Embedding, Logits
from transformer.layers.rnn import (
  LSTM,
  Cell,
  RecurrentLayer,
  State,
  begins,
  last_read,
  pick,
)
from transformer.models.base import EncoderDecoder, Model, check_settings, shift_right


@dataclasses.dataclass(frozen=True)
class RNNSeq2Seq(Model):
  """The encoder-decoder of Sutskever et al. 2014; the defaults are its sizes (§3.4).

  The decoder of each layer begins with the encoder's last state of that layer, and has
  no other access to the source. `reverse` reads the source from its end (§3.3).
  `dropout` is applied between layers, never between time steps (Zaremba et al. 2015);
  the paper has none.

  Attributes:
    layers: how many layers, in each of encoder and decoder.
    d_model: width of the embeddings and of the hidden state.
    cell: the recurrent cell.
    reverse: reads the source from its end (§3.3).
    dropout: probability of dropout between layers, never between time steps (Zaremba
      et al. 2015); the paper has none.
  """

  layers: int = 4
  d_model: int = 1000
  cell: Cell = LSTM()
  reverse: bool = True
  dropout: float = 0.0

  def __post_init__(self):
    check_settings(self, ("layers", "d_model"), ("dropout",))

  @property
  def width(self) -> int:
    return self.d_model

  def module(self, vocabulary: int, dtype=jnp.float32) -> "RNNSeq2SeqModule":
    return RNNSeq2SeqModule(self, vocabulary, dtype)


class RNNSeq2SeqModule(EncoderDecoder):
  """Logits of every target token given one vector a layer and the tokens before it."""

  c: RNNSeq2Seq

  def setup(self):
    c = self.c
    self.source_embedding = Embedding(self.vocabulary, c.d_model)
    self.target_embedding = Embedding(self.vocabulary, c.d_model)
    self.encoder = [
      RecurrentLayer(c.cell, c.d_model, c.d_model) for _ in range(c.layers)
    ]
    self.decoder = [
      RecurrentLayer(c.cell, c.d_model, c.d_model) for _ in range(c.layers)
    ]
    self.output = Logits(self.vocabulary)

  def hidden(self, batch: Pairs, train: bool = False):
    """The decoder's output for every token of `batch.target`, `[b, t, d]`."""
    source, target = batch
    last_bt = last_read(target.seg_bt, source.seg_bt, self.c.reverse)
    x_btd = self.target_embedding(shift_right(target), self.dtype)
    start_bt = begins(target.seg_bt)
    for layer, states in zip(self.decoder, self.encode(source, train), strict=True):
      x_btd = self.drop(x_btd, train)
      x_btd = layer(x_btd, start_bt, pick(states, last_bt))[0].astype(self.dtype)
    return self.drop(x_btd, train)

  def encode(self, source: Tokens, train: bool = False) -> list[State]:
    """Each layer's state after every source token, parts `[b, s, f]`."""
    x_bsd = self.source_embedding(source.id_bt, self.dtype)
    start_bs = begins(source.seg_bt, self.c.reverse)
    states = []
    for layer in self.encoder:
      x_bsd = self.drop(x_bsd, train)
      states.append(layer(x_bsd, start_bs, reverse=self.c.reverse))
      x_bsd = states[-1][0].astype(self.dtype)
    return states

  def drop(self, x_btd, train: bool):
    """Dropout between layers."""
    return dropout(self, x_btd, self.c.dropout, train)

  def vectors(self, source: Tokens) -> list[State]:
    """The initial states of the decoder, parts `[b, 1, f]`; one example a row."""
    one_b1 = jnp.ones_like(source.seg_bt[:, :1])
    last_b1 = last_read(one_b1, source.seg_bt, self.c.reverse)
    return [pick(states, last_b1) for states in self.encode(source)]

  def advance(self, token_bw, state: DecodeState):
    """One decoding step inside `apply`; see `step`."""
    x_bwd = self.target_embedding(token_bw, self.dtype)
    states = []
    for layer, old in zip(self.decoder, state.cache, strict=True):
      states.append(layer.step(x_bwd, old))
      x_bwd = states[-1][0].astype(self.dtype)
    return self.output(x_bwd), state.after(states)

  @nn.nowrap
  def unstack(self, params):
    """Parameters for decoding: the same."""
    return params

  def restack(self, params):
    """The same again."""
    return params

  @nn.nowrap
  def start(self, params, source: Tokens, capacity: int) -> DecodeState:
    """Reads the sources, `[b, s]`, one unpacked example a row.

    Returns:
      The state before the first step: each layer's, `[b, 1, f]`. Nothing is encoded
      besides, and the number of steps is not limited.
    """
    vectors = self.apply({"params": params}, source, method="vectors")
    return DecodeState(vectors, None)

  @nn.nowrap
  def step(self, params, token_bw, state: DecodeState):
    """Feeds one token to every hypothesis: logits `[b, w, v]` of the next, and the
    state after it. The first token is `BOS`."""
    return self.apply({"params": params}, token_bw, state, method="advance")
