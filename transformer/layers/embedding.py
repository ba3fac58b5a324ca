"""Tokens to vectors and back (§3.4)."""

import jax.numpy as jnp
from flax import linen as nn

from transformer.layers.int8 import Int8, einsum
from transformer.layers.linear import weight


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
    if isinstance(self.table_vd, Int8):
      values_dv, scale_dv = self.table_vd
      x_dbt = jnp.take(values_dv, id_bt, axis=1) * jnp.take(scale_dv, id_bt, axis=1)
      x_btd = jnp.moveaxis(x_dbt, 0, -1)
    else:
      x_btd = jnp.take(self.table_vd, id_bt, axis=0)
    return (x_btd * self.d_model**0.5).astype(dtype)

  def logits(self, x_btd):
    """The pre-softmax linear map, by the same matrix and with no bias; float32."""
    if isinstance(self.table_vd, Int8):
      return einsum("btd,dv->btv", x_btd, self.table_vd).astype(jnp.float32)
    table_vd = self.table_vd.astype(x_btd.dtype)
    return jnp.einsum(
      "btd,vd->btv", x_btd, table_vd, preferred_element_type=jnp.float32
    )
