"""Where a token stands: hooks on embeddings, on queries and keys, and on scores."""

import dataclasses

import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Position:
  """No position information. Subclasses override only the hooks they need."""

  def embed(self, mod, x_btd, pos_bt):
    """Once, on the embeddings; `mod` may hold parameters."""
    return x_btd

  def rotate(self, x_bthk, pos_bt):
    """In every layer, on the queries and keys of self-attention."""
    return x_bthk

  def bias(self, mod, heads, q_pos_bt, k_pos_bs):
    """Once per stack, added to the self-attention scores of all layers; `[b, h, t, s]`
    or None."""
    return None


@dataclasses.dataclass(frozen=True)
class Sinusoid(Position):
  """Sines and cosines of geometric wavelengths, added to the embeddings (§3.5).

  PE(pos, 2i) = sin(pos / base^(2i/d)) and PE(pos, 2i+1) the cosine; no parameters,
  any length. `d` must be even.
  """

  base: float = 10000.0

  def embed(self, mod, x_btd, pos_bt):
    d = x_btd.shape[-1]
    if d % 2:
      raise ValueError(f"Sinusoid: d_model {d} is odd; sines and cosines come in pairs")
    rate = self.base ** (-jnp.arange(0, d, 2, dtype=jnp.float32) / d)
    angle = pos_bt[:, :, None].astype(jnp.float32) * rate[None, None, :]
    table = jnp.stack([jnp.sin(angle), jnp.cos(angle)], axis=-1)
    return x_btd + table.reshape(x_btd.shape).astype(x_btd.dtype)
