"""Transformer-XL: a language model that reads a text segment by segment and keeps the
hidden states of the segments before (Dai et al. 2019)."""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from transformer.axes import constrain_sharding
from transformer.batch import TextWithContext, Tokens
from transformer.layers.attention import TokenContext
from transformer.layers.masks import causal, same_segment
from transformer.layers.positions import Position, TransformerXLPosition
from transformer.models.base import Attentions
from transformer.models.decoder_only import CausalLayer, DecoderOnly, DecoderOnlyModule
from transformer.models.stack import scanned


@dataclasses.dataclass(frozen=True)
class TransformerXL(DecoderOnly):
  """A decoder alone whose layers also attend to their own inputs of earlier segments
  (§3.2), which get no gradient.

  Positions count from the oldest token in the memory, so `position` is a scheme of
  relative positions, not of absolute ones.
  """

  position: Position = TransformerXLPosition()

  unused: ClassVar[tuple[str, ...]] = ("decoder_layers", "start_id")

  def module(self, vocabulary: int, dtype=jnp.float32) -> Any:
    return TransformerXLModule(self, vocabulary, dtype)

  def example(self) -> Any:
    tokens = Tokens(*(np.ones((1, 2), np.int32),) * 3)
    return TextWithContext(tokens, tokens)


class SegmentMemory(NamedTuple):
  """The hidden states of the tokens before, oldest first.

  Attributes:
    x_lbmd: the inputs of attention of each layer.
    seg_bm: the segment of each token, as in `Tokens`; 0 for an empty entry.
  """

  x_lbmd: Any
  seg_bm: Any

  def then(self, new: "SegmentMemory", most: int) -> "SegmentMemory":
    """The last `most` tokens of this memory followed by a newer one."""
    x_lbmd = jnp.concatenate([self.x_lbmd, new.x_lbmd], axis=2)
    seg_bm = jnp.concatenate([self.seg_bm, new.seg_bm], axis=1)
    first = max(0, seg_bm.shape[1] - most)
    return SegmentMemory(x_lbmd[:, :, first:], seg_bm[:, first:])


class SegmentLayer(CausalLayer):
  """A layer that attends to a memory and to its own segment."""

  def __call__(  # type: ignore[override]
    self, x_btd, memory_bmd, tokens: TokenContext, train: bool = False,
    keep_weights: bool = False,
  ):  # fmt: skip
    """One layer over a segment `[b, t, d]`, with `s` = `m + t` keys; and the inputs of
    its attention, `[b, t, d]`, the memory of the next segment, with
    `AttentionIntermediates` if `keep_weights`, else None."""

    def self_attention(x_btd):
      memory = jax.lax.stop_gradient(memory_bmd.astype(x_btd.dtype))
      k_bshk, v_bshk = self.keys_and_values(
        jnp.concatenate([memory, x_btd], axis=1), tokens.k_pos_bs
      )
      y_btd, intermediates = self.self_attention(x_btd, k_bshk, v_bshk, tokens, train)
      return y_btd, (x_btd, intermediates if keep_weights else None)

    x_btd, kept = self.self_sublayer(x_btd, self_attention, train, tokens.real_bt)
    x_btd = self.feed_forward_block(x_btd, train, tokens.real_bt)
    return constrain_sharding("btd", x_btd), kept


class TransformerXLModule(DecoderOnlyModule):
  """Logits of every token of a segment given those before it and a memory."""

  @nn.nowrap
  def stack(self) -> Any:
    axes = (0, *(nn.broadcast,) * 3)  # each layer has its own memory
    return scanned(SegmentLayer, self.c, self.c.remat, axes)

  def __call__(self, batch: Any, train: bool = False):
    """Logits `[b, t, v]` in float32 of what follows each token of `batch.text`; `batch`
    is `TextWithContext`."""
    return self.logits(self.hidden(batch, train))

  def hidden(self, batch: Any, train: bool = False):
    """The output of the layers for every token of `batch.text`, `[b, t, d]`. The tokens
    before it are read first, in a forward pass of their own, and become the memory."""
    nothing = self.nothing(batch.text.id_bt.shape[0])
    _, memory = self.read(batch.context, nothing, train)
    return self.read(batch.text, memory, train)[0]

  def nothing(self, rows: int, size: int = 0) -> SegmentMemory:
    """An empty memory of `size` entries."""
    shape = self.c.layers, rows, size, self.c.d_model
    return SegmentMemory(
      jnp.zeros(shape, self.dtype), jnp.zeros((rows, size), jnp.int32)
    )

  def attention(self, batch: Any) -> Attentions:
    """See `models.base.Attends`; of `batch.text`, the tokens before it are keys too."""
    nothing = self.nothing(batch.text.id_bt.shape[0])
    _, memory = self.read(batch.context, nothing)
    return {"self_attention": self.attend_and_read(batch.text, memory, True)[2]}

  def read(self, tokens: Tokens, memory: SegmentMemory, train: bool = False):
    """The output of the layers for a segment, `[b, t, d]`, and its memory. A token
    attends to those of its own example in the memory and before it in the segment."""
    return self.attend_and_read(tokens, memory, False, train)[:2]

  def attend_and_read(
    self, tokens: Tokens, memory: SegmentMemory, keep_weights: bool, train: bool = False
  ):
    """What `read` returns, and with `keep_weights` the `AttentionIntermediates` of all
    layers, stacked, else None."""
    id_bt, pos_bt, seg_bt = tokens
    x_lbmd, seg_bm = memory
    m_pos_bm = positions(seg_bm)
    # Where an example continues, its positions continue from those in the memory.
    same_btm = same_segment(seg_bt, seg_bm) & (seg_bm != 0)[:, None, :]
    last_btm = jnp.where(same_btm, 1 + m_pos_bm[:, None, :], 0)
    pos_bt = pos_bt + jnp.max(last_btm, axis=-1, initial=0)
    k_pos_bs = jnp.concatenate([m_pos_bm, pos_bt], axis=1)
    k_seg_bs = jnp.concatenate([seg_bm, seg_bt], axis=1)
    mask_bts = causal(pos_bt, k_pos_bs) & same_segment(seg_bt, k_seg_bs)
    x_btd = self.embedding(id_bt, self.dtype)
    x_btd = self.position_encoding(x_btd, pos_bt, train, seg_bt != 0)
    bias_bhts = self.position_bias(pos_bt, k_pos_bs)
    context = TokenContext(mask_bts, bias_bhts, pos_bt, k_pos_bs, q_seg_bt=seg_bt)
    x_btd, (input_lbtd, intermediates) = self.layers(
      constrain_sharding("btd", x_btd), x_lbmd, context, train, keep_weights
    )
    x_btd = self.final_norm(x_btd, context.real_bt, train)
    after = SegmentMemory(jax.lax.stop_gradient(input_lbtd), seg_bt)
    return x_btd, after, intermediates


def positions(seg_bm):
  """The position of each token within its example, `[b, m]`, from 0."""
  same_bmn = same_segment(seg_bm, seg_bm)
  before_mn = jnp.tri(seg_bm.shape[1], k=-1, dtype=bool)
  return jnp.sum(same_bmn & before_mn[None], axis=-1)
