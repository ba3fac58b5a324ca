"""Normalisation of activations."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import linen as nn

from transformer.layers.linear import weight


@dataclasses.dataclass(frozen=True)
class Norm:
  """No normalisation."""

  def __call__(self, mod, x_btd):
    """Normalises in float32 and returns the dtype it got; `mod` holds parameters."""
    return x_btd


@dataclasses.dataclass(frozen=True)
class LayerNorm(Norm):
  """Mean 0 and variance 1 over the width, then a scale and a bias (Ba et al. 2016)."""

  epsilon: float = 1e-6

  def __call__(self, mod, x_btd):
    d = x_btd.shape[-1]
    scale_d = weight(mod, "scale", "d", (d,), nn.initializers.ones)
    bias_d = weight(mod, "bias", "d", (d,), nn.initializers.zeros)
    x = x_btd.astype(jnp.float32)
    x = x - jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(x), axis=-1, keepdims=True)
    y = x * jax.lax.rsqrt(variance + self.epsilon)
    return (y * scale_d[None, None, :] + bias_d[None, None, :]).astype(x_btd.dtype)


@dataclasses.dataclass(frozen=True)
class RmsNorm(Norm):
  """Root mean square 1 over the width, then a scale (Zhang & Sennrich 2019, eq. 4)."""

  epsilon: float = 1e-6

  def __call__(self, mod, x_btd):
    d = x_btd.shape[-1]
    scale_d = weight(mod, "scale", "d", (d,), nn.initializers.ones)
    x = x_btd.astype(jnp.float32)
    square = jnp.mean(jnp.square(x), axis=-1, keepdims=True)
    y = x * jax.lax.rsqrt(square + self.epsilon)
    return (y * scale_d[None, None, :]).astype(x_btd.dtype)
