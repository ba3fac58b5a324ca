"""Multi-head attention (§3.2) in two halves: `KeyValue` projects the attended tokens to
keys and values, and `Attention` compares queries with them. Keys and values between the
two are plain arrays, which training uses at once and decoding caches.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from transformer.axes import constrain_sharding, dims
from transformer.layers.dropout import dropout
from transformer.layers.kernels import AttentionInputs, Kernel, Segments
from transformer.layers.linear import project
from transformer.layers.masks import causal, same_segment
from transformer.layers.positions import Position
from transformer.layers.scores import Score


class TokenContext(NamedTuple):
  """What attention needs to know about its tokens besides their activations; made once
  per stack and passed to every layer.

  Attributes:
    mask_bts: True where attention is allowed. A row with no True gives the mean of all
      values, finite but meaningless: nothing real may read it.
    bias_bhts: position bias, added to the scores; None for no bias.
    q_pos_bt, k_pos_bs: positions of queries and keys, for the position recipe.
    q_seg_bt: segments of the queries, 0 at padding; None where all tokens are real.
    k_seg_bs: segments of the keys; only where `mask_bts` is made of segments, and of
      the order of tokens if the attention is causal.
  """

  mask_bts: Any
  bias_bhts: Any = None
  q_pos_bt: Any = None
  k_pos_bs: Any = None
  q_seg_bt: Any = None
  k_seg_bs: Any = None

  @property
  def real_bt(self):
    """False at padding; None where all tokens are real."""
    return None if self.q_seg_bt is None else self.q_seg_bt != 0


class AttentionIntermediates(NamedTuple):
  """What multi-head attention computes on its way from queries to values.

  Stacked over layers, each array has an axis `l` before the others.

  Attributes:
    weights_bhts: the attention weights, before dropout; None where a fused kernel ran.
    q_bthk, k_bshk: queries and keys as the score compares them, rotated if the position
      recipe rotates; None where the score is of another kind (`Score.scale`).
    bias_bhts: position bias, added to the scores; None for no bias.
  """

  weights_bhts: Any
  q_bthk: Any = None
  k_bshk: Any = None
  bias_bhts: Any = None


def self_context(pos_bt, seg_bt, bias_bhts, is_causal: bool) -> TokenContext:
  """The context of self-attention within one sequence."""
  mask_bts = same_segment(seg_bt, seg_bt)
  if is_causal:
    mask_bts = causal(pos_bt, pos_bt) & mask_bts
  return TokenContext(mask_bts, bias_bhts, pos_bt, pos_bt, seg_bt, seg_bt)


def source_context(seg_bt, source_seg_bs) -> TokenContext:
  """The context of attention from target tokens to source tokens."""
  mask_bts = same_segment(seg_bt, source_seg_bs)
  return TokenContext(mask_bts, q_seg_bt=seg_bt, k_seg_bs=source_seg_bs)


class KeyValue(nn.Module):
  """Keys and values of the attended tokens (W^K and W^V of §3.2.2); `gain` is a factor
  of their initial weights."""

  heads: int
  d_k: int
  d_v: int
  biases: bool = False
  gain: float = 1.0

  @nn.compact
  def __call__(self, x_bsd):
    """Keys `[b, s, h, k]` and values `[b, s, h, k]` (of width d_k and d_v)."""

    def heads(name, width):
      return project(
        self, name, "bsd,dhk->bshk", x_bsd, bias=self.biases, gain=self.gain,
        h=self.heads, k=width,
      )  # fmt: skip

    return heads("k", self.d_k), heads("v", self.d_v)


class Attention(nn.Module):
  """Multi-head attention to keys and values that are computed already (§3.2.2). With
  `biases`, queries and the output have biases, which the paper's have not; `gain` is a
  factor of the queries' initial weights.

  `key_value` made the keys; a score recipe may use it for the queries too. `causal`
  states that the mask also hides later tokens.
  """

  heads: int
  d_k: int
  score: Score = Score()
  dropout: float = 0.0
  position: Position = Position()
  key_value: KeyValue | None = None
  kernel: Kernel = Kernel()
  causal: bool = False
  biases: bool = False
  gain: float = 1.0

  @nn.compact
  def __call__(self, x_btd, k_bshk, v_bshk, tokens: TokenContext, train: bool = False):
    """The output `[b, t, d]`, and `AttentionIntermediates`.

    Args:
      x_btd: the tokens that become queries.
      k_bshk, v_bshk: from `KeyValue`; keys already rotated.
      tokens: mask, bias and positions.
      train: turns dropout on the weights on, and lets `kernel` choose a fused kernel.
    """
    q_bthk = self.score.queries(self, x_btd)
    q_bthk = self.position.rotate(q_bthk, tokens.q_pos_bt)
    dims(q_bthk=q_bthk, k_bshk=k_bshk, mask_bts=tokens.mask_bts)
    q_bthk = constrain_sharding("bthk", q_bthk)
    k_bshk, v_bshk = (
      constrain_sharding("bshk", k_bshk),
      constrain_sharding("bshk", v_bshk),
    )
    relation = self.position.relate(
      self, q_bthk, k_bshk, v_bshk, tokens.q_pos_bt, tokens.k_pos_bs
    )
    biases = [x for x in (tokens.bias_bhts, relation.bias_bhts) if x is not None]
    segments = None
    if tokens.q_seg_bt is not None and tokens.k_seg_bs is not None:
      segments = Segments(tokens.q_seg_bt, tokens.k_seg_bs, self.causal)
    inputs = AttentionInputs(
      q_bthk,
      k_bshk,
      v_bshk,
      tokens.mask_bts,
      sum(biases) if biases else None,
      relation.value_btsk,
      segments,
      self.score,
      self.dropout,
    )
    fused = self.kernel.select(inputs) if train else None
    if fused is None:
      y_bthk, weights_bhts = self.plain(inputs, train)
    else:
      y_bthk, weights_bhts = fused(), None
    d = x_btd.shape[-1]
    y_btd = project(self, "o", "bthk,hkd->btd", y_bthk, bias=self.biases, d=d)
    is_product = self.score.scale(self.d_k) is not None
    q, k = (q_bthk, k_bshk) if is_product else (None, None)
    return y_btd, AttentionIntermediates(weights_bhts, q, k, inputs.bias_bhts)

  def plain(self, inputs: AttentionInputs, train: bool):
    """Attention as the paper writes it: `[b, t, h, k]`, and the weights before
    dropout."""
    q_bthk, k_bshk, v_bshk, mask_bts, *_ = inputs
    scores_bhts = self.score(self, q_bthk, k_bshk)
    if inputs.bias_bhts is not None:
      scores_bhts = scores_bhts + inputs.bias_bhts
    lowest = jnp.finfo(jnp.float32).min
    scores_bhts = jnp.where(mask_bts[:, None], scores_bhts, lowest)
    weights_bhts = jax.nn.softmax(scores_bhts, axis=-1).astype(q_bthk.dtype)
    kept_bhts = dropout(self, weights_bhts, self.dropout, train)
    # In this order of axes the product is a plain batched one, which runs faster.
    y_bhtk = jnp.einsum("bhts,bshk->bhtk", kept_bhts, v_bshk)
    y_bthk = y_bhtk.transpose(0, 2, 1, 3)
    if inputs.relative_btsk is not None:
      y_bthk += jnp.einsum("bhts,btsk->bthk", kept_bhts, inputs.relative_btsk)
    return y_bthk, weights_bhts
