"""How well a key answers a query: the compatibility function of attention (§3.2)."""

import dataclasses

import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Score:
  """Scaled dot product, q·k / sqrt(d_k) (§3.2.1, eq. 1)."""

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

  def __call__(self, mod, q_bthk, k_bshk):
    return jnp.einsum(
      "bthk,bshk->bhts", q_bthk, k_bshk, preferred_element_type=jnp.float32
    )
