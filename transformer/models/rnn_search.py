"""A recurrent encoder-decoder that learns to align (Bahdanau et al. 2015)."""

import dataclasses
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from transformer.batch import Pairs, Tokens
from transformer.decoding.state import DecodeState
from transformer.layers.attention import AttentionIntermediates
from transformer.layers.dropout import dropout
from transformer.layers.embedding import Embedding, Logits
from transformer.layers.linear import project
from transformer.layers.masks import same_segment
from transformer.layers.rnn import (
  GRU,
  Cell,
  RecurrentLayer,
  State,
  begins,
  last_read,
  pick,
)
from transformer.layers.rnn_attention import AlignedLayer
from transformer.models.base import (
  Attentions,
  EncoderDecoder,
  Model,
  check_settings,
  shift_right,
)


@dataclasses.dataclass(frozen=True)
class RNNSearch(Model):
  """RNNsearch of Bahdanau et al. 2015; the defaults are its sizes (A.2.3).

  Attributes:
    d_model: width of the embedded tokens, m in the paper.
    d_state: width of the states of the decoder and of either direction of the encoder.
    d_alignment: width in which states and annotations are compared.
    d_output: width of the maxout layer before the logits.
    cell: of encoder and decoder.
    dropout: on embedded tokens and before the logits; the paper has none.
  """

  d_model: int = 620
  d_state: int = 1000
  d_alignment: int = 1000
  d_output: int = 500
  cell: Cell = GRU()
  dropout: float = 0.0

  def __post_init__(self):
    check_settings(
      self, ("d_model", "d_state", "d_alignment", "d_output"), ("dropout",)
    )

  @property
  def width(self) -> int:
    return self.d_model

  def module(self, vocabulary: int, dtype=jnp.float32) -> "RNNSearchModule":
    return RNNSearchModule(self, vocabulary, dtype)


class RNNSearchModule(EncoderDecoder):
  """Logits of every target token given the tokens before it and a source that each
  state attends to."""

  c: RNNSearch

  def setup(self):
    c = self.c
    self.source_embedding = Embedding(self.vocabulary, c.d_model)
    self.target_embedding = Embedding(self.vocabulary, c.d_model)
    self.forwards = RecurrentLayer(c.cell, c.d_model, c.d_state)
    self.backwards = RecurrentLayer(c.cell, c.d_model, c.d_state)
    self.initial_state = InitialState(c.d_state)
    self.decoder = AlignedLayer(
      c.cell, c.d_model, c.d_state, 2 * c.d_state, c.d_alignment
    )
    self.maxout = Maxout(c.d_output)
    self.output = Logits(self.vocabulary)

  def hidden(self, batch: Pairs, train: bool = False):
    """The decoder's output for every token of `batch.target`, `[b, t, d]`."""
    return self.decode(batch, train)[0]

  def attention(self, batch: Pairs) -> Attentions:
    """See `models.base.Attends`; one layer of one head."""
    _, weights_bts = self.decode(batch, keep_weights=True)
    weights_lbhts = weights_bts[None, :, None]
    return {"decoder/source_attention": AttentionIntermediates(weights_lbhts)}

  def decode(self, batch: Pairs, train: bool = False, keep_weights: bool = False):
    """The decoder's output, `[b, t, d]`, and with `keep_weights` the attention weights,
    `[b, t, s]`, else None."""
    source, target = batch
    y_bsd = self.encode(source, train)
    x_btd = self.target_embedding(shift_right(target), self.dtype)
    x_btd = dropout(self, x_btd, self.c.dropout, train)
    states, context_btd, weights_bts = self.decoder.decode(
      x_btd,
      begins(target.seg_bt),
      self.initial(y_bsd, source.seg_bt, target.seg_bt),
      self.decoder.annotate(y_bsd),
      same_segment(target.seg_bt, source.seg_bt),
      keep_weights,
    )
    return self.mix(states, x_btd, context_btd, train), weights_bts

  def encode(self, source: Tokens, train: bool = False):
    """The annotations, `[b, s, d]`: for every token, the states of a forward and of a
    backward network (§3.2)."""
    x_bsd = self.source_embedding(source.id_bt, self.dtype)
    x_bsd = dropout(self, x_bsd, self.c.dropout, train)
    forward = self.forwards(x_bsd, begins(source.seg_bt))
    start_bs = begins(source.seg_bt, reverse=True)
    backward = self.backwards(x_bsd, start_bs, reverse=True)
    return jnp.concatenate([forward[0], backward[0]], axis=-1).astype(self.dtype)

  def initial(self, y_bsd, source_seg_bs, seg_bt) -> State:
    """The initial state of each target token's example, `[b, t, f]`: from the last
    state of the backward network (A.2.2)."""
    (back_btd,) = pick(
      (y_bsd[:, :, self.c.d_state :],), last_read(seg_bt, source_seg_bs, reverse=True)
    )
    rest = self.decoder.zeros(*seg_bt.shape)[1:]
    return (self.initial_state(back_btd).astype(jnp.float32), *rest)

  def mix(self, state: State, x_btd, context_btd, train: bool = False):
    """The inputs of the logits: from the state, the token that led to it and its
    context (A.2.2)."""
    y_btf = self.maxout(state[0].astype(self.dtype), x_btd, context_btd)
    return dropout(self, y_btf, self.c.dropout, train)

  def read(self, source: Tokens) -> DecodeState:
    """The state before the first step inside `apply`; see `start`."""
    y_bsd = self.encode(source)
    one_b1 = jnp.ones_like(source.seg_bt[:, :1])
    state = self.initial(y_bsd, source.seg_bt, one_b1)
    return DecodeState(state, (self.decoder.annotate(y_bsd), source.seg_bt))

  def advance(self, token_bw, state: DecodeState):
    """One decoding step inside `apply`; see `step`."""
    annotations, source_seg_bs = state.encoded
    x_bwd = self.target_embedding(token_bw, self.dtype)
    states, context_bwd, weight_bws = self.decoder.advance(
      self.decoder.inputs(x_bwd),
      state.cache,
      annotations,
      same_segment(jnp.ones_like(token_bw), source_seg_bs),
    )
    logits_bwv = self.logits(self.mix(states, x_bwd, context_bwd))
    return logits_bwv, state.after(states, weight_bws)

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
      The state before the first step: the cell's `[b, 1, f]`; encoded are the
      annotations `[b, s, d]`. The number of steps is not limited.
    """
    state: Any = self.apply({"params": params}, source, method="read")
    return state

  @nn.nowrap
  def step(self, params, token_bw, state: DecodeState):
    """Feeds one token to every hypothesis: logits `[b, w, v]` of the next, and the
    state after it. The first token is `BOS`."""
    return self.apply({"params": params}, token_bw, state, method="advance")


class InitialState(nn.Module):
  """s_0 = tanh(W h), h the backward network's last state (A.2.2)."""

  f: int

  @nn.compact
  def __call__(self, x_btd):
    return jnp.tanh(project(self, "w", "btd,df->btf", x_btd, f=self.f))


class Maxout(nn.Module):
  """The larger of each pair of linear maps of state, token and context (Goodfellow et
  al. 2013; A.2.2)."""

  f: int

  @nn.compact
  def __call__(self, state_btd, token_btd, context_btd):
    inputs = dict(state=state_btd, token=token_btd, context=context_btd)
    y_btpf = sum(
      project(self, name, "btd,dpf->btpf", x_btd, p=2, f=self.f)
      for name, x_btd in inputs.items()
    )
    return jnp.max(y_btpf, axis=2)
