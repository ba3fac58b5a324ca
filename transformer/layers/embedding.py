"""Embeddings and logits (§3.4)."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from transformer.axes import constrain_sharding
from transformer.layers.int8 import Int8, einsum
from transformer.layers.linear import project, weight


@dataclasses.dataclass(frozen=True)
class Tying:
  """One matrix for source tokens, target tokens and logits (§3.4; Press and Wolf 2017,
  §3, three-way weight tying).

  Attributes:
    scaled: multiplies the vectors of tokens by sqrt(d_model), never the logits.
    scaled_logits: divides the logits by sqrt(d_model), for vectors of variance 1 that
      are not scaled (T5, Raffel et al. 2020; as in Mesh TensorFlow).
  """

  scaled: bool = True
  scaled_logits: bool = False

  tables: ClassVar = ("table", "table", "table")
  """Names of the matrices for sources, targets and logits."""


@dataclasses.dataclass(frozen=True)
class TiedTarget(Tying):
  """One matrix for target tokens and logits, another for source tokens (Press and
  Wolf 2017, §3)."""

  tables = ("source", "table", "table")


@dataclasses.dataclass(frozen=True)
class TiedInputs(Tying):
  """One matrix for source and target tokens, another for the logits."""

  tables = ("table", "table", "output")


@dataclasses.dataclass(frozen=True)
class Untied(Tying):
  """Three matrices, as in recurrent models (Bahdanau et al. 2015, appendix A)."""

  tables = ("source", "table", "output")


class Embedding(nn.Module):
  """Matrices `[v, d]`, initialised from N(0, 1/d) so that both the embedded tokens
  times sqrt(d) and the logits have a variance near 1.

  Attributes:
    bias: adds a bias to the logits.
    absent_ids: ids that are no tokens; their logits are -inf, so that softmax, loss and
      search are those of a vocabulary without them.
  """

  vocabulary: int
  d_model: int
  tying: Tying = Tying()
  bias: bool = False
  absent_ids: tuple[int, ...] = ()

  def setup(self):
    init = nn.initializers.normal(self.d_model**-0.5)
    shape = self.vocabulary, self.d_model
    names = self.tying.tables
    made = {
      name: weight(self, name, "vd", shape, init, inputs="d", hidden=False, int8=True)
      for name in sorted(set(names))
    }
    self.source_vd, self.target_vd, self.output_vd = (made[name] for name in names)
    if self.bias:
      zeros = nn.initializers.zeros
      self.bias_v = weight(self, "logits_bias", "v", (self.vocabulary,), zeros)

  def __call__(self, id_bt, dtype=jnp.float32):
    """Vectors `[b, t, d]` of target tokens, in `dtype`."""
    return self._look_up(self.target_vd, id_bt, dtype)

  def source(self, id_bt, dtype=jnp.float32):
    """Vectors `[b, t, d]` of source tokens, in `dtype`."""
    return self._look_up(self.source_vd, id_bt, dtype)

  def logits(self, x_btd):
    """The pre-softmax linear map; float32."""
    logits_btv = self._project(x_btd)
    if self.bias:
      logits_btv = logits_btv + self.bias_v[None, None, :]
    if self.absent_ids:
      absent_v = np.isin(np.arange(self.vocabulary), self.absent_ids)
      logits_btv = jnp.where(absent_v[None, None, :], -jnp.inf, logits_btv)
    return logits_btv

  def _project(self, x_btd):
    if self.tying.scaled_logits:
      x_btd = x_btd * jnp.asarray(self.d_model**-0.5, x_btd.dtype)
    if isinstance(self.output_vd, Int8):
      return einsum("btd,dv->btv", x_btd, self.output_vd).astype(jnp.float32)
    table_vd = self.output_vd.astype(x_btd.dtype)
    logits_btv = jnp.einsum(
      "btd,vd->btv", x_btd, table_vd, preferred_element_type=jnp.float32
    )
    return constrain_sharding("btv", logits_btv)

  def _look_up(self, table_vd, id_bt, dtype):
    if isinstance(table_vd, Int8):
      values_dv, scale_dv = table_vd
      x_dbt = jnp.take(values_dv, id_bt, axis=1) * jnp.take(scale_dv, id_bt, axis=1)
      x_btd = jnp.moveaxis(x_dbt, 0, -1)
    else:
      x_btd = jnp.take(table_vd, id_bt, axis=0)
    scale = self.d_model**0.5 if self.tying.scaled else 1.0
    return (x_btd * scale).astype(dtype)


class Logits(nn.Module):
  """A linear map to the vocabulary that is tied to nothing, with a bias; float32."""

  vocabulary: int

  @nn.compact
  def __call__(self, x_btd):
    y_btv = project(
      self, "w", "btd,dv->btv", x_btd, v=self.vocabulary, bias=True, hidden=False
    )
    return y_btv.astype(jnp.float32)
