"""Multi-head attention (§3.2) in two halves: what is remembered, and who asks.

`Memory` turns the attended tokens into keys and values; `Attention` puts queries to
them. Keys and values are then plain arrays that training makes and uses at once, and
decoding keeps.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from transformer.axes import constrain_sharding, dims
from transformer.layers.dropout import dropout
from transformer.layers.kernels import Kernel, Segments, Work
from transformer.layers.linear import project
from transformer.layers.positions import Position
from transformer.layers.scores import Score


class Memory(nn.Module):
  """Keys and values of the tokens that are attended to (W^K and W^V of §3.2.2)."""

  heads: int
  d_k: int
  d_v: int

  @nn.compact
  def __call__(self, x_bsd):
    """Keys `[b, s, h, k]` and values `[b, s, h, k]` (of width d_k and d_v)."""
    k_bshk = project(self, "k", "bsd,dhk->bshk", x_bsd, h=self.heads, k=self.d_k)
    v_bshk = project(self, "v", "bsd,dhk->bshk", x_bsd, h=self.heads, k=self.d_v)
    return k_bshk, v_bshk


class Attention(nn.Module):
  """Multi-head attention to given keys and values, without biases (§3.2.2).

  `memory` made the keys; a score recipe may have it make the queries too.
  """

  heads: int
  d_k: int
  score: Score = Score()
  dropout: float = 0.0
  position: Position = Position()
  memory: Memory | None = None
  kernel: Kernel = Kernel()

  @nn.compact
  def __call__(
    self,
    x_btd,
    k_bshk,
    v_bshk,
    mask_bts,
    bias_bhts=None,
    q_pos_bt=None,
    k_pos_bs=None,
    train=False,
    segments: Segments | None = None,
  ):
    """What each query token finds, `[b, t, d]`.

    Args:
      x_btd: the tokens that ask.
      k_bshk, v_bshk: from `Memory`; keys already rotated.
      mask_bts: True where attention is allowed. A row with no True gives the mean of
        all values, finite but meaningless: nothing real may read it.
      bias_bhts: added to the scores.
      q_pos_bt, k_pos_bs: where the tokens stand, if the position recipe asks.
      train: turns dropout on the weights on, and lets `kernel` choose a program.
      segments: how the mask came about, if it came from segments alone.
    """
    q_bthk = self.score.queries(self, x_btd)
    q_bthk = self.position.rotate(q_bthk, q_pos_bt)
    dims(q_bthk=q_bthk, k_bshk=k_bshk, mask_bts=mask_bts)
    q_bthk = constrain_sharding("bthk", q_bthk)
    k_bshk, v_bshk = (
      constrain_sharding("bshk", k_bshk),
      constrain_sharding("bshk", v_bshk),
    )
    relation = self.position.relate(self, q_bthk, k_bshk, v_bshk, q_pos_bt, k_pos_bs)
    added = [one for one in (bias_bhts, relation.bias_bhts) if one is not None]
    work = Work(
      q_bthk,
      k_bshk,
      v_bshk,
      mask_bts,
      sum(added) if added else None,
      relation.value_btsk,
      segments,
      self.score,
      self.dropout,
    )
    program = self.kernel.program(work) if train else None
    y_bthk = self.plain(work, train) if program is None else program()
    return project(self, "o", "bthk,hkd->btd", y_bthk, d=x_btd.shape[-1])

  def plain(self, work: Work, train: bool):
    """Attention as the paper writes it, `[b, t, h, k]`."""
    q_bthk, k_bshk, v_bshk, mask_bts, *_ = work
    scores_bhts = self.score(self, q_bthk, k_bshk)
    if work.bias_bhts is not None:
      scores_bhts = scores_bhts + work.bias_bhts
    worst = jnp.finfo(jnp.float32).min
    scores_bhts = jnp.where(mask_bts[:, None], scores_bhts, worst)
    weights_bhts = jax.nn.softmax(scores_bhts, axis=-1).astype(q_bthk.dtype)
    self.sow("intermediates", "weights", weights_bhts)
    weights_bhts = dropout(self, weights_bhts, self.dropout, train)
    # In this order of axes the product is a plain batched one, which runs faster.
    y_bhtk = jnp.einsum("bhts,bshk->bhtk", weights_bhts, v_bshk)
    y_bthk = y_bhtk.transpose(0, 2, 1, 3)
    if work.relative_btsk is not None:
      y_bthk += jnp.einsum("bhts,btsk->bthk", weights_bhts, work.relative_btsk)
    return y_bthk
