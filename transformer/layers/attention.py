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
  """Multi-head attention to given keys and values, without biases (§3.2.2)."""

  heads: int
  d_k: int
  score: Score = Score()
  dropout: float = 0.0

  @nn.compact
  def __call__(
    self, x_btd, k_bshk, v_bshk, mask_bts, bias_bhts=None, rotate=None, train=False
  ):
    """What each query token finds, `[b, t, d]`.

    Args:
      x_btd: the tokens that ask.
      k_bshk, v_bshk: from `Memory`; keys already rotated.
      mask_bts: True where attention is allowed. A row with no True gives the mean of
        all values, finite but meaningless: nothing real may read it.
      bias_bhts: added to the scores.
      rotate: applied to the queries, `[b, t, h, k]` to the same.
      train: turns dropout on the weights on.
    """
    q_bthk = project(self, "q", "btd,dhk->bthk", x_btd, h=self.heads, k=self.d_k)
    if rotate is not None:
      q_bthk = rotate(q_bthk)
    dims(q_bthk=q_bthk, k_bshk=k_bshk, mask_bts=mask_bts)
    scores_bhts = self.score(self, q_bthk, k_bshk)
    if bias_bhts is not None:
      scores_bhts = scores_bhts + bias_bhts
    worst = jnp.finfo(jnp.float32).min
    scores_bhts = jnp.where(mask_bts[:, None], scores_bhts, worst)
    weights_bhts = jax.nn.softmax(scores_bhts, axis=-1).astype(x_btd.dtype)
    weights_bhts = dropout(self, weights_bhts, self.dropout, train)
    # In this order of axes the product is a plain batched one, which runs faster.
    y_bhtk = jnp.einsum("bhts,bshk->bhtk", weights_bhts, v_bshk)
    y_bthk = y_bhtk.transpose(0, 2, 1, 3)
    return project(self, "o", "bthk,hkd->btd", y_bthk, d=x_btd.shape[-1])
