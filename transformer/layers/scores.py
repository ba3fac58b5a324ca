"""Compatibility functions of attention: the score of a key for a query (§3.2)."""

import dataclasses

import jax.numpy as jnp

from transformer.layers.linear import glorot, project, weight


@dataclasses.dataclass(frozen=True)
class Score:
  """Scaled dot product, q·k / sqrt(d_k) (§3.2.1, eq. 1)."""

  def queries(self, mod, x_btd):
    """Queries `[b, t, h, k]` of the attention `mod`, which holds their weights."""
    return project(
      mod, "q", "btd,dhk->bthk", x_btd, bias=mod.biases, gain=mod.gain, h=mod.heads,
      k=mod.d_k,
    )  # fmt: skip

  def scale(self, d_k: int) -> float | None:
    """The factor of q·k in the score; None where the score is not such a product."""
    return d_k**-0.5

  def __call__(self, mod, q_bthk, k_bshk):
    """Scores `[b, h, t, s]` in float32; `mod` may hold parameters."""
    scale = q_bthk.shape[-1] ** -0.5
    return jnp.einsum(
      "bthk,bshk->bhts",
      q_bthk * jnp.asarray(scale, q_bthk.dtype),
      k_bshk,
      preferred_element_type=jnp.float32,
    )


@dataclasses.dataclass(frozen=True)
class Dot(Score):
  """The dot product, not scaled (§3.2.1, footnote 4: its variance is d_k)."""

  def scale(self, d_k: int) -> float | None:
    return 1.0

  def __call__(self, mod, q_bthk, k_bshk):
    return jnp.einsum(
      "bthk,bshk->bhts", q_bthk, k_bshk, preferred_element_type=jnp.float32
    )


@dataclasses.dataclass(frozen=True)
class SharedQueryKey(Score):
  """Scaled dot product of queries and keys that are made by one matrix, W^Q = W^K
  (Kitaev et al. 2020, §2, shared-QK; their keys have unit length besides).

  Among the tokens of one sequence the scores are then symmetric, as long as no
  position recipe acts on them.
  """

  def queries(self, mod, x_btd):
    k_bthk, _ = mod.key_value(x_btd)
    return k_bthk


@dataclasses.dataclass(frozen=True)
class Additive(Score):
  """v·tanh(q + k), with a v for each head (Bahdanau et al. 2015, appendix A.1.2; their
  W and U are the projections of queries and keys). Takes b·t·s·h·k numbers."""

  def scale(self, d_k: int) -> float | None:
    return None

  def __call__(self, mod, q_bthk, k_bshk):
    h, k = q_bthk.shape[2:]
    v_hk = weight(mod, "score", "hk", (h, k), glorot(k, 1))
    inner_btshk = jnp.tanh(q_bthk[:, :, None] + k_bshk[:, None])
    return jnp.einsum(
      "btshk,hk->bhts",
      inner_btshk,
      v_hk.astype(q_bthk.dtype),
      preferred_element_type=jnp.float32,
    )


@dataclasses.dataclass(frozen=True)
class Bilinear(Score):
  """q·W k, with a matrix for each head (Luong et al. 2015, §3.1, "general"); not
  scaled."""

  def scale(self, d_k: int) -> float | None:
    return None

  def __call__(self, mod, q_bthk, k_bshk):
    h, k = q_bthk.shape[2:]
    init = glorot(k, k)
    w_hkj = weight(mod, "score", "hkj", (h, k, k), init, inputs="k", stacked="h")
    q_bthj = jnp.einsum("bthk,hkj->bthj", q_bthk, w_hkj.astype(q_bthk.dtype))
    return jnp.einsum(
      "bthj,bshj->bhts", q_bthj, k_bshk, preferred_element_type=jnp.float32
    )
