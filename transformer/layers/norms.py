"""Normalisation of activations."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import linen as nn

from transformer.config import Epsilon, Fraction
from transformer.layers.linear import weight


@dataclasses.dataclass(frozen=True)
class Norm:
  """No normalisation."""

  def __call__(self, mod, x_btd, real_bt=None, train: bool = False):
    """Normalises in float32 and returns the dtype it got; `mod` holds parameters.

    `real_bt` is False at padding; only norms over several tokens need it, in training.
    """
    return x_btd


@dataclasses.dataclass(frozen=True)
class LayerNorm(Norm):
  """Mean 0 and variance 1 over the width, then a scale and a bias (Ba et al. 2016).

  Attributes:
    epsilon: added to the variance.
  """

  epsilon: Epsilon = 1e-6

  def __call__(self, mod, x_btd, real_bt=None, train: bool = False):
    d = x_btd.shape[-1]
    scale_d = weight(mod, "scale", "d", (d,), nn.initializers.ones)
    bias_d = weight(mod, "bias", "d", (d,), nn.initializers.zeros)
    x = x_btd.astype(jnp.float32)
    x = x - jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(x), axis=-1, keepdims=True)
    y = x * jax.lax.rsqrt(variance + self.epsilon)
    return (y * scale_d[None, None, :] + bias_d[None, None, :]).astype(x_btd.dtype)


@dataclasses.dataclass(frozen=True)
class RMSNorm(Norm):
  """Root mean square 1 over the width, then a scale (Zhang & Sennrich 2019, eq. 4).

  Attributes:
    epsilon: added to the mean square.
  """

  epsilon: Epsilon = 1e-6

  def __call__(self, mod, x_btd, real_bt=None, train: bool = False):
    d = x_btd.shape[-1]
    scale_d = weight(mod, "scale", "d", (d,), nn.initializers.ones)
    x = x_btd.astype(jnp.float32)
    square = jnp.mean(jnp.square(x), axis=-1, keepdims=True)
    y = x * jax.lax.rsqrt(square + self.epsilon)
    return (y * scale_d[None, None, :]).astype(x_btd.dtype)


@dataclasses.dataclass(frozen=True)
class BatchNorm(Norm):
  """Mean 0 and variance 1 of each channel over the real tokens of a batch, then a scale
  and a bias (Ioffe and Szegedy 2015, algorithms 1 and 2).

  Outside training, running averages are used in place of the batch, so that the output
  for an example does not depend on the rest of its batch. They are stored with the
  parameters under the names `mean` and `variance`; in training, the updated averages
  are returned in the collection `batch_stats`, and the training step stores them.
  `momentum` is the weight of the old average. In training, the mean of a batch contains
  later target tokens, so a decoder with batch norm is not strictly causal.

  Attributes:
    momentum: weight of the old running average at each update.
    epsilon: added to the variance.
  """

  momentum: Fraction = 0.9
  epsilon: Epsilon = 1e-5

  def __call__(self, mod, x_btd, real_bt=None, train: bool = False):
    d = x_btd.shape[-1]
    scale_d = weight(mod, "scale", "d", (d,), nn.initializers.ones)
    bias_d = weight(mod, "bias", "d", (d,), nn.initializers.zeros)
    mean_d = weight(mod, "mean", "d", (d,), nn.initializers.zeros)
    variance_d = weight(mod, "variance", "d", (d,), nn.initializers.ones)
    x = x_btd.astype(jnp.float32)
    if mod.is_initializing():
      self.update_averages(mod, mean_d, variance_d)
    elif train:
      # Padding is in no average, and would grow from norm to norm where it differs.
      x = jnp.where(real_bt[:, :, None], x, 0.0)
      weight_bt1 = real_bt[:, :, None].astype(jnp.float32)
      count = jnp.maximum(jnp.sum(weight_bt1), 1.0)
      old_mean_d, old_variance_d = mean_d, variance_d
      mean_d = jnp.sum(x * weight_bt1, axis=(0, 1)) / count
      square = jnp.square(x - mean_d[None, None]) * weight_bt1
      variance_d = jnp.sum(square, axis=(0, 1)) / count
      unbiased_d = variance_d * count / jnp.maximum(count - 1.0, 1.0)
      self.update_averages(
        mod,
        self.momentum * old_mean_d + (1.0 - self.momentum) * mean_d,
        self.momentum * old_variance_d + (1.0 - self.momentum) * unbiased_d,
      )
    y = (x - mean_d[None, None]) * jax.lax.rsqrt(variance_d + self.epsilon)[None, None]
    return (y * scale_d[None, None, :] + bias_d[None, None, :]).astype(x_btd.dtype)

  def update_averages(self, mod, mean_d, variance_d):
    """Returns updated running averages, if `batch_stats` is mutable in `apply`."""
    for name, value_d in (("mean", mean_d), ("variance", variance_d)):
      value_d = jax.lax.stop_gradient(value_d)
      mod.sow(
        "batch_stats", name, value_d, reduce_fn=lambda _, new: new, init_fn=lambda: None
      )
