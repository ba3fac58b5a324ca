"""Multi-head attention (§3.2) in two halves: what is remembered, and who asks.

`Memory` turns the attended tokens into keys and values; `Attention` puts queries to
them. Keys and values are then plain arrays that training makes and uses at once, and
decoding keeps.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from transformer.axes import dims
from transformer.layers.dropout import dropout
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
  ):
    """What each query token finds, `[b, t, d]`.

    Args:
      x_btd: the tokens that ask.
      k_bshk, v_bshk: from `Memory`; keys already rotated.
      mask_bts: True where attention is allowed. A row with no True gives the mean of
        all values, finite but meaningless: nothing real may read it.
      bias_bhts: added to the scores.
      q_pos_bt, k_pos_bs: where the tokens stand, if the position recipe asks.
      train: turns dropout on the weights on.
    """
    q_bthk = self.score.queries(self, x_btd)
    q_bthk = self.position.rotate(q_bthk, q_pos_bt)
    dims(q_bthk=q_bthk, k_bshk=k_bshk, mask_bts=mask_bts)
    scores_bhts = self.score(self, q_bthk, k_bshk)
    relation = self.position.relate(self, q_bthk, k_bshk, v_bshk, q_pos_bt, k_pos_bs)
    for added_bhts in (bias_bhts, relation.bias_bhts):
      if added_bhts is not None:
        scores_bhts = scores_bhts + added_bhts
    worst = jnp.finfo(jnp.float32).min
    scores_bhts = jnp.where(mask_bts[:, None], scores_bhts, worst)
    weights_bhts = jax.nn.softmax(scores_bhts, axis=-1).astype(x_btd.dtype)
    weights_bhts = dropout(self, weights_bhts, self.dropout, train)
    y_bthk = jnp.einsum("bhts,bshk->bthk", weights_bhts, v_bshk)
    if relation.value_btsk is not None:
      y_bthk += jnp.einsum("bhts,btsk->bthk", weights_bhts, relation.value_btsk)
    return project(self, "o", "bthk,hkd->btd", y_bthk, d=x_btd.shape[-1])
