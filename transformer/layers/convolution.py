"""Gated convolutions along rows of examples, and attention without heads (Gehring et
al. 2017).

A row may hold several examples: no window reaches into another. `n` is the axis of a
window's tokens, `f` the width of the activations, and `k` is `f` on the input side.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from transformer.layers.linear import weight


def windows(x_btf, seg_bt, offsets):
  """`[b, t, n, f]`: the tokens at each of `offsets` from every token, zeros where that
  is another example or outside the row."""
  size, columns = x_btf.shape[1], []
  for offset in offsets:
    index_t = jnp.arange(size) + offset
    own_bt = jnp.roll(seg_bt, -offset, axis=1) == seg_bt
    own_bt &= ((index_t >= 0) & (index_t < size))[None, :]
    moved_btf = jnp.roll(x_btf, -offset, axis=1)
    columns.append(jnp.where(own_bt[:, :, None], moved_btf, jnp.zeros((), x_btf.dtype)))
  return jnp.stack(columns, axis=2)


class GatedConvolution(nn.Module):
  """One window of a convolution with a gated linear unit, A sigmoid(B) (Dauphin et al.
  2017), to width `f`.

  `kept` is the share of its inputs that dropout keeps; weights begin with variance 4
  kept / inputs, so that the variance of the output is near that of the input (§3.5 and
  A.1).
  """

  f: int
  kept: float = 1.0

  @nn.compact
  def __call__(self, x_btnk):
    _, _, n, k = x_btnk.shape
    init = nn.initializers.normal((4.0 * self.kept / (n * k)) ** 0.5)
    w_nkgf = weight(self, "w", "nkgf", (n, k, 2, self.f), init, inputs="nk")
    b_gf = weight(self, "b", "gf", (2, self.f), nn.initializers.zeros)
    y_btgf = jnp.einsum("btnk,nkgf->btgf", x_btnk, w_nkgf.astype(x_btnk.dtype))
    y_btgf = y_btgf + b_gf[None, None].astype(y_btgf.dtype)
    return y_btgf[:, :, 0] * jax.nn.sigmoid(y_btgf[:, :, 1])


def attention_weights(q_btd, key_bsd, mask_bts):
  """Attention weights `[b, t, s]` in float32, of dot products that are neither scaled
  nor in heads (§3.3)."""
  score_bts = jnp.einsum(
    "btd,bsd->bts", q_btd, key_bsd, preferred_element_type=jnp.float32
  )
  score_bts = jnp.where(mask_bts, score_bts, jnp.finfo(jnp.float32).min)
  return jax.nn.softmax(score_bts, axis=-1)


def attend(weights_bts, value_bsd, mask_bts):
  """The output of attention, `[b, t, d]`: the weighted sum times the square root of the
  number of tokens, which restores the variance that a mean of them loses (§3.5).

  A row of `mask_bts` with no True gives zeros.
  """
  size_bt1 = jnp.sum(mask_bts, axis=-1, keepdims=True).astype(jnp.float32)
  scaled_bts = weights_bts * jnp.sqrt(size_bt1)
  return jnp.einsum("bts,bsd->btd", scaled_bts.astype(value_bsd.dtype), value_bsd)


def scale_gradient(x, factor: float):
  """`x` itself, with its gradient times `factor`."""
  constant = jax.lax.stop_gradient(x)
  return constant + factor * (x - constant)
