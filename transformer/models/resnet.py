"""Residual networks of convolutions (He et al. 2016)."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from transformer.batch import Images
from transformer.layers.images import (
  ClassLogits,
  Convolution,
  PixelNorm,
  max_pool,
)
from transformer.layers.norms import BatchNorm, Norm
from transformer.models.base import Model, check_settings


@dataclasses.dataclass(frozen=True)
class Block:
  """Two convolutions of 3 x 3 (Figure 5, left)."""

  def __call__(self, unit: Callable, x_byxd, channels: int, stride: int):
    """The residual function F; `unit(name, x, size, channels, stride)` is a convolution
    with its norm."""
    x_byxd = nn.relu(unit("first", x_byxd, 3, channels, stride))
    return unit("second", x_byxd, 3, channels, 1)


@dataclasses.dataclass(frozen=True)
class Bottleneck(Block):
  """Convolutions of 1 x 1, 3 x 3 and 1 x 1, the last to four times the channels
  (Figure 5, right)."""

  def __call__(self, unit: Callable, x_byxd, channels: int, stride: int):
    x_byxd = nn.relu(unit("first", x_byxd, 1, channels, stride))
    x_byxd = nn.relu(unit("second", x_byxd, 3, channels, 1))
    return unit("third", x_byxd, 1, 4 * channels, 1)


@dataclasses.dataclass(frozen=True)
class Stem:
  """The first convolution: 3 x 3, at full size, as for CIFAR-10 (§4.2)."""

  def __call__(self, unit: Callable, x_byxd, channels: int):
    """`unit` is as in `Block`."""
    return nn.relu(unit("stem", x_byxd, 3, channels, 1))


@dataclasses.dataclass(frozen=True)
class Shrinking(Stem):
  """7 x 7 and a max pool of 3 x 3, each halving the size, for ImageNet (Table 1)."""

  def __call__(self, unit: Callable, x_byxd, channels: int):
    return max_pool(nn.relu(unit("stem", x_byxd, 7, channels, 2)), 3, 2)


@dataclasses.dataclass(frozen=True)
class ResNet(Model):
  """Stages of residual blocks, each stage at half the size and twice the channels of
  the one before; the defaults are ResNet-50 (Table 1).

  Attributes:
    stages: the number of blocks of each stage.
    base_channels: of the first stage; the output of a bottleneck has four times as
      many.
    block: the residual function.
    stem: the layers before the first stage.
    norm: after every convolution.
    channels: of the images.
    pixels: how their bytes become numbers.
  """

  stages: tuple[int, ...] = (3, 4, 6, 3)
  base_channels: int = 64
  block: Block = Bottleneck()
  stem: Stem = Shrinking()
  norm: Norm = BatchNorm()
  channels: int = 3
  pixels: PixelNorm = PixelNorm()

  def __post_init__(self):
    if not self.stages or min(self.stages) < 1:
      raise ValueError(
        f"model.stages: expected 1 or more blocks each, got {self.stages}"
      )
    check_settings(self, ("base_channels", "channels"))

  @property
  def width(self) -> int:
    return self.base_channels

  def module(self, vocabulary: int, dtype=jnp.float32) -> "ResidualNetwork":
    return ResidualNetwork(self, vocabulary, dtype)

  def example(self) -> Images:
    image_byxc = np.zeros((1, 8, 8, self.channels), np.uint8)
    return Images(image_byxc, np.zeros(1, np.int32), np.ones(1, np.int32))


class Unit(nn.Module):
  """A convolution and its norm, over the pixels of a batch."""

  c: ResNet
  size: int
  channels: int
  stride: int
  hidden: bool = True  # False for the first, which reads pixels

  @nn.compact
  def __call__(self, x_byxd, real_b, train: bool):
    x_byxd = Convolution(
      self.size, self.channels, self.stride, self.hidden, name="convolution"
    )(x_byxd)
    b, rows, columns, d = x_byxd.shape
    x_btd = x_byxd.reshape(b, rows * columns, d)
    real_bt = jnp.broadcast_to(real_b[:, None] != 0, x_btd.shape[:2])
    return self.c.norm(self, x_btd, real_bt, train).reshape(x_byxd.shape)


class ResidualBlock(nn.Module):
  """max(0, F(x) + x) (eq. 1); where sizes change, the shortcut is a convolution of 1 x
  1 (eq. 2; option B of §4.1)."""

  c: ResNet
  channels: int
  stride: int

  @nn.compact
  def __call__(self, x_byxd, real_b, train: bool):
    def unit(name, x_byxd, *sizes):
      return Unit(self.c, *sizes, name=name)(x_byxd, real_b, train)

    y_byxd = self.c.block(unit, x_byxd, self.channels, self.stride)
    if y_byxd.shape != x_byxd.shape:
      x_byxd = unit("shortcut", x_byxd, 1, y_byxd.shape[-1], self.stride)
    return nn.relu(y_byxd + x_byxd)


class ResidualNetwork(nn.Module):
  """Logits of the classes of images."""

  c: ResNet
  vocabulary: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, batch: Images, train: bool = False):
    """Logits `[b, v]` in float32, of the mean over all pixels of the last stage.

    With `train`, batch norm uses the statistics of the batch, without empty rows.
    """
    c, real_b = self.c, batch.real_b

    def unit(name, x_byxd, size, channels, stride):
      convolution = Unit(c, size, channels, stride, hidden=False, name=name)
      return convolution(x_byxd, real_b, train)

    x_byxd = c.pixels(batch.image_byxc, c.channels, self.dtype)
    x_byxd = c.stem(unit, x_byxd, c.base_channels)
    for stage, blocks in enumerate(c.stages):
      for i in range(blocks):
        stride = 2 if stage and not i else 1
        block = ResidualBlock(
          c, c.base_channels * 2**stage, stride, name=f"{stage}_{i}"
        )
        x_byxd = block(x_byxd, real_b, train)
    x_bd = jnp.mean(x_byxd.astype(jnp.float32), axis=(1, 2)).astype(self.dtype)
    return ClassLogits(self.vocabulary, name="head")(x_bd)
