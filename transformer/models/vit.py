"""The Vision Transformer: an encoder over the patches of an image (Dosovitskiy et al.
2021)."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from transformer.batch import Images
from transformer.layers.feedforward import GELU, FeedForward
from transformer.layers.images import ClassLogits, ClassToken, Patches, PixelNorm
from transformer.layers.positions import Learned, Position
from transformer.layers.residual import PreNorm, Residual
from transformer.models.base import Attentions, check_settings
from transformer.models.blocks import Stack
from transformer.models.stack import Encoder


@dataclasses.dataclass(frozen=True)
class VisionTransformer(Stack):
  """Patches of `patch` x `patch` pixels with `channels` channels as tokens of the
  Transformer's encoder; the defaults are ViT-B/16 on images of 224 x 224 (Table 1).

  Attributes:
    patch: pixels a side of a patch, which is one token.
    channels: 3, or 1 for grey; as the task has it.
    pixels: how bytes become the numbers that the patches are made of.
  """

  layers: int = 12
  d_model: int = 768
  d_ff: int = 3072
  heads: int = 12
  position: Position = Learned(length=197)
  residual: Residual = PreNorm()
  feed_forward: FeedForward = GELU(dropout=0.1)
  patch: int = 16
  channels: int = 3
  pixels: PixelNorm = PixelNorm()

  def __post_init__(self):
    super().__post_init__()
    check_settings(self, ("patch", "channels"))

  def module(self, vocabulary: int, dtype=jnp.float32) -> "VisionTransformerModule":
    return VisionTransformerModule(self, vocabulary, dtype)

  def example(self) -> Images:
    image_byxc = np.zeros((1, self.patch, 2 * self.patch, self.channels), np.uint8)
    return Images(image_byxc, np.zeros(1, np.int32), np.ones(1, np.int32))


@dataclasses.dataclass(frozen=True)
class DistilledVisionTransformer(VisionTransformer):
  """DeiT: a distillation token after the class token (Touvron et al. 2021, §4).

  Training here is without a teacher, so both heads learn the labels.

  Attributes:
    distillation_head: the logits are the mean of those of two heads, one for each of
      the two tokens; else those of the class token alone.
  """

  position: Position = Learned(length=198)
  distillation_head: bool = True

  def module(self, vocabulary: int, dtype=jnp.float32) -> "VisionTransformerModule":
    return DistilledVisionTransformerModule(self, vocabulary, dtype)


class VisionTransformerModule(nn.Module):
  """Logits of the classes of images."""

  c: VisionTransformer
  vocabulary: int
  dtype: Any = jnp.float32

  def setup(self):
    self.patches = Patches(self.c.patch, self.c.d_model)
    self.token = ClassToken()
    self.encoder = Encoder(self.c)
    self.head = ClassLogits(self.vocabulary)

  def __call__(self, batch: Images, train: bool = False):
    """Logits `[b, v]` in float32, read at the class token, whose position is 0.

    With `train`, draws from the stream `dropout`.
    """
    y_btd, _ = self.encode(batch, train)
    return self.logits(y_btd)

  def encode(self, batch: Images, train: bool = False, keep_weights: bool = False):
    """See `Encoder`; the tokens of `tokens`."""
    x_byxc = self.c.pixels(batch.image_byxc, self.c.channels, self.dtype)
    x_btd = self.tokens(self.patches(x_byxc))
    pos_bt = jnp.broadcast_to(jnp.arange(x_btd.shape[1]), x_btd.shape[:2])
    seg_bt = jnp.broadcast_to(batch.real_b[:, None], x_btd.shape[:2])
    return self.encoder(x_btd, pos_bt, seg_bt, train, keep_weights)

  def attention(self, batch: Images) -> Attentions:
    """See `models.base.Attends`."""
    return {"encoder/self_attention": self.encode(batch, keep_weights=True)[1]}

  def tokens(self, x_btd):
    """The class token, then the patches row by row, `[b, 1 + t, d]`."""
    return self.token(x_btd)

  def logits(self, y_btd):
    """The logits `[b, v]` of encoded tokens."""
    return self.head(y_btd[:, 0])


class DistilledVisionTransformerModule(VisionTransformerModule):
  """Logits of the classes of images, with a distillation token."""

  c: DistilledVisionTransformer

  def setup(self):
    super().setup()
    self.distillation_token = ClassToken()
    if self.c.distillation_head:
      self.distillation_head = ClassLogits(self.vocabulary)

  def tokens(self, x_btd):
    """The class token, the distillation token, the patches, `[b, 2 + t, d]`."""
    return self.token(self.distillation_token(x_btd))

  def logits(self, y_btd):
    logits_bv = self.head(y_btd[:, 0])
    if not self.c.distillation_head:
      return logits_bv
    return (logits_bv + self.distillation_head(y_btd[:, 1])) / 2
