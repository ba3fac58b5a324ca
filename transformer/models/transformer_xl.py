"""Transformer-XL: a language model that reads a text segment by segment and remembers
what its layers made of the segments before (Dai et al. 2019)."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from transformer.axes import constrain_sharding
from transformer.batch import Segments, Tokens
from transformer.layers.embedding import Embedding
from transformer.layers.masks import causal, same_segment
from transformer.layers.positions import Position, TransformerXLPosition
from transformer.models.decoder_only import CausalLayer, DecoderOnly, DecoderOnlyModule
from transformer.models.stack import Bias, Last, Place, feed_forward


@dataclasses.dataclass(frozen=True)
class TransformerXL(DecoderOnly):
  """A decoder alone whose layers also attend to their own inputs of earlier segments
  (§3.2), which get no gradient.

  Places are counted from the oldest thing remembered, so `position` is a scheme of
  distances, not of places.
  """

  position: Position = TransformerXLPosition()

  def module(self, vocabulary: int, dtype=jnp.float32) -> Any:
    return TransformerXLModule(self, vocabulary, dtype)

  def example(self) -> Any:
    tokens = Tokens(*(np.ones((1, 2), np.int32),) * 3)
    return Segments(tokens, tokens)


class Remembered(NamedTuple):
  """What every layer read of the tokens before, oldest first.

  Attributes:
    x_lbmd: the inputs of attention of each layer.
    seg_bm: the segment of each token, as in `Tokens`; 0 is nothing.
  """

  x_lbmd: Any
  seg_bm: Any

  def then(self, new: "Remembered", most: int) -> "Remembered":
    """With newer things after it, the last `most` of all."""
    x_lbmd = jnp.concatenate([self.x_lbmd, new.x_lbmd], axis=2)
    seg_bm = jnp.concatenate([self.seg_bm, new.seg_bm], axis=1)
    first = max(0, seg_bm.shape[1] - most)
    return Remembered(x_lbmd[:, :, first:], seg_bm[:, first:])


class SegmentLayer(CausalLayer):
  """A layer that attends to a memory and to its own segment."""

  def __call__(  # type: ignore[override]
    self,
    x_btd,
    memory_bmd,
    pos_bt,
    k_pos_bs,
    real_bt,
    mask_bts,
    bias_bhts,
    train=False,
  ):
    """One layer over a segment `[b, t, d]`, with `s` = `m + t` keys; and what its
    attention read of it, for the memory of the next."""
    read = []

    def attend(x_btd):
      read.append(x_btd)
      known_bmd = jax.lax.stop_gradient(memory_bmd.astype(x_btd.dtype))
      k_bshk, v_bshk = self.self_memory(jnp.concatenate([known_bmd, x_btd], axis=1))
      k_bshk = self.c.position.rotate(k_bshk, k_pos_bs)
      return self.self_attention(
        x_btd, k_bshk, v_bshk, mask_bts, bias_bhts, pos_bt, k_pos_bs, train
      )

    x_btd = self.self_join(x_btd, attend, train, real_bt)
    return constrain_sharding("btd", feed_forward(self, x_btd, train, real_bt)), read[0]


class TransformerXLModule(DecoderOnlyModule):
  """Logits of every token of a segment given those before it and a memory."""

  def setup(self):
    self.embedding = Embedding(self.vocabulary, self.c.d_model, self.c.tying)
    self.place = Place(self.c)
    self.bias = Bias(self.c, causal=True)
    self.layers = nn.scan(
      self.c.remat(SegmentLayer, static=(8,)),  # the last argument, `train`
      variable_axes={"params": 0, "batch_stats": 0},
      split_rngs={"params": True, "dropout": True},
      in_axes=(0, *(nn.broadcast,) * 6),
      length=self.c.layers,
      unroll=min(self.c.unroll, self.c.layers),
      metadata_params={nn.PARTITION_NAME: "l"},
    )(self.c)
    self.last = Last(self.c)

  def __call__(self, batch: Any, train: bool = False):
    """Logits `[b, t, v]` in float32 of what follows each token of `batch.text`; `batch`
    is `Segments`."""
    return self.logits(self.hidden(batch, train))

  def hidden(self, batch: Any, train: bool = False):
    """What the layers make of every token of `batch.text`, `[b, t, d]`; what stands
    before it is read first, in a forward pass of its own, and remembered."""
    nothing = self.nothing(batch.text.id_bt.shape[0])
    _, memory = self.read(batch.context, nothing, train)
    return self.read(batch.text, memory, train)[0]

  def nothing(self, rows: int, size: int = 0) -> Remembered:
    """An empty memory with room for `size` tokens."""
    shape = self.c.layers, rows, size, self.c.d_model
    return Remembered(jnp.zeros(shape, self.dtype), jnp.zeros((rows, size), jnp.int32))

  def read(self, tokens: Tokens, memory: Remembered, train: bool = False):
    """What the layers make of a segment, `[b, t, d]`, and what is to be remembered of
    it. A token sees those of its own example, in the memory and before it."""
    id_bt, pos_bt, seg_bt = tokens
    x_lbmd, seg_bm = memory
    m_pos_bm = places(seg_bm)
    # Where a token's example goes on, its places go on from those remembered.
    same_btm = same_segment(seg_bt, seg_bm) & (seg_bm != 0)[:, None, :]
    last_btm = jnp.where(same_btm, 1 + m_pos_bm[:, None, :], 0)
    pos_bt = pos_bt + jnp.max(last_btm, axis=-1, initial=0)
    k_pos_bs = jnp.concatenate([m_pos_bm, pos_bt], axis=1)
    k_seg_bs = jnp.concatenate([seg_bm, seg_bt], axis=1)
    mask_bts = causal(pos_bt, k_pos_bs) & same_segment(seg_bt, k_seg_bs)
    x_btd = self.place(self.embedding(id_bt, self.dtype), pos_bt, train)
    bias_bhts = self.bias(pos_bt, k_pos_bs)
    x_btd, read_lbtd = self.layers(
      constrain_sharding("btd", x_btd), x_lbmd, pos_bt, k_pos_bs, seg_bt != 0, mask_bts, bias_bhts,
      train,
    )  # fmt: skip
    x_btd = self.last(x_btd, seg_bt != 0, train)
    return x_btd, Remembered(jax.lax.stop_gradient(read_lbtd), seg_bt)


def places(seg_bm):
  """Where each token stands among those of its example, `[b, m]`, from 0."""
  same_bmn = same_segment(seg_bm, seg_bm)
  before_mn = jnp.tri(seg_bm.shape[1], k=-1, dtype=bool)
  return jnp.sum(same_bmn & before_mn[None], axis=-1)
