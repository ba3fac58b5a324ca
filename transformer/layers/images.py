"""Layers on images: pixels, patches, convolutions, pooling."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from transformer.layers.linear import project, weight


@dataclasses.dataclass(frozen=True)
class PixelNorm:
  """Pixels as (x - mean) / deviation, where x is the byte over 255.

  Attributes:
    mean, deviation: one for all channels, or one for each; the defaults map bytes to
      -1 to 1.
  """

  mean: tuple[float, ...] = (0.5,)
  deviation: tuple[float, ...] = (0.5,)

  def __post_init__(self):
    if not self.mean or len(self.mean) != len(self.deviation):
      raise ValueError(
        "pixels: expected as many means as deviations, got "
        f"{self.mean!r} and {self.deviation!r}"
      )
    if min(self.deviation) <= 0:
      raise ValueError(f"deviation: expected more than 0, got {min(self.deviation)}")

  def __call__(self, image_byxc, channels: int, dtype):
    """Images `[b, y, x, c]` of bytes 0 to 255 in `dtype`.

    Raises:
      ValueError: the number of channels is another.
    """
    if image_byxc.shape[-1] != channels:
      raise ValueError(
        f"model.channels: expected {image_byxc.shape[-1]}, as in the images, got "
        f"{channels}; set model.channels and task.channels to the same number"
      )
    if len(self.mean) not in (1, channels):
      raise ValueError(
        f"model.pixels: expected 1 or {channels} means, as there are channels, got "
        f"{len(self.mean)}"
      )
    mean, deviation = np.array(self.mean), np.array(self.deviation)
    scale_111c, shift_111c = (
      jnp.asarray(x.reshape(1, 1, 1, -1), dtype)
      for x in (255.0 * deviation, mean / deviation)
    )
    return image_byxc.astype(dtype) / scale_111c - shift_111c


class Patches(nn.Module):
  """An image as a row of tokens: squares of `size` pixels a side, from left to right
  and top to bottom, each through one linear map (Dosovitskiy et al. 2021, eq. 1)."""

  size: int
  d_model: int

  @nn.compact
  def __call__(self, x_byxc):
    """`[b, t, d]` of images `[b, y, x, c]`.

    Raises:
      ValueError: the size of the image is not a multiple of the patch size.
    """
    b, rows, columns, c = x_byxc.shape
    p = self.size
    if rows % p or columns % p:
      raise ValueError(
        f"model.patch: expected a divisor of the image size {rows} x {columns}, got {p}"
      )
    x = x_byxc.reshape(b, rows // p, p, columns // p, p, c)
    x_btk = jnp.moveaxis(x, 2, 3).reshape(b, -1, p * p * c)
    return project(
      self, "w", "btk,kd->btd", x_btk, d=self.d_model, bias=True, hidden=False
    )


class ClassToken(nn.Module):
  """A learned token before the others, from which the class is read (Dosovitskiy et al.
  2021, eq. 1 and 4; Devlin et al. 2019)."""

  @nn.compact
  def __call__(self, x_btd):
    """`[b, 1 + t, d]`."""
    b, _, d = x_btd.shape
    token_d = weight(self, "token", "d", (d,), nn.initializers.zeros)
    token_btd = jnp.broadcast_to(token_d.astype(x_btd.dtype), (b, 1, d))
    return jnp.concatenate([token_btd, x_btd], axis=1)


class ClassLogits(nn.Module):
  """A linear map to the classes, with a bias; float32."""

  classes: int

  @nn.compact
  def __call__(self, x_bd):
    """`[b, v]` of `[b, d]`."""
    y_bv = project(
      self, "w", "bd,dv->bv", x_bd, v=self.classes, bias=True, hidden=False
    )
    return y_bv.astype(jnp.float32)


class Convolution(nn.Module):
  """A convolution without a bias, with zero padding; initialised as in He et al. 2015,
  eq. 10, with variance 2 / inputs, for the ReLU that follows.

  `hidden` is False for the first convolution, which reads pixels (`axes.Weight`)."""

  size: int
  channels: int
  stride: int = 1
  hidden: bool = True

  @nn.compact
  def __call__(self, x_byxd):
    """`[b, y / stride, x / stride, f]` of `[b, y, x, d]`, rounded up."""
    d = x_byxd.shape[-1]
    init = nn.initializers.normal((2.0 / (self.size**2 * d)) ** 0.5)
    shape = self.size, self.size, d, self.channels
    w_yxcf = weight(self, "w", "yxcf", shape, init, inputs="yxc", hidden=self.hidden)
    w_yxcf = w_yxcf.astype(x_byxd.dtype)
    border = (self.size // 2, (self.size - 1) // 2)
    return jax.lax.conv_general_dilated(
      x_byxd, w_yxcf, (self.stride,) * 2, (border, border),
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )  # fmt: skip


def max_pool(x_byxd, size: int, stride: int):
  """Max pooling over windows of `size` x `size` pixels, `stride` apart."""
  border = (size // 2, (size - 1) // 2)
  return jax.lax.reduce_window(
    x_byxd, np.array(-np.inf, x_byxd.dtype), jax.lax.max, (1, size, size, 1),
    (1, stride, stride, 1), ((0, 0), border, border, (0, 0)),
  )  # fmt: skip
