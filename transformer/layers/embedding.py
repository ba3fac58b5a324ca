"""Tokens to vectors and back (§3.4)."""

import jax.numpy as jnp
from flax import linen as nn

from transformer.layers.linear import project, weight


class Embedding(nn.Module):
  """One matrix `[v, d]`, drawn from N(0, 1/d) so that the tokens times sqrt(d) and the
  logits both begin near variance one."""

  vocabulary: int
  d_model: int

  def setup(self):
    init = nn.initializers.normal(self.d_model**-0.5)
    self.table_vd = weight(self, "table", "vd", (self.vocabulary, self.d_model), init)

  def __call__(self, id_bt, dtype=jnp.float32):
    """Vectors `[b, t, d]` times sqrt(d_model), in `dtype`."""
    x_btd = jnp.take(self.table_vd, id_bt, axis=0)
    return (x_btd * self.d_model**0.5).astype(dtype)

  def logits(self, x_btd):
    """The pre-softmax linear map, by the same matrix and with no bias; float32."""
    table_vd = self.table_vd.astype(x_btd.dtype)
    return jnp.einsum(
      "btd,vd->btv", x_btd, table_vd, preferred_element_type=jnp.float32
    )


class Logits(nn.Module):
  """A linear map of its own to the vocabulary, with a bias; float32."""

  vocabulary: int

  @nn.compact
  def __call__(self, x_btd):
    y_btv = project(self, "w", "btd,dv->btv", x_btd, v=self.vocabulary, bias=True)
    return y_btv.astype(jnp.float32)
