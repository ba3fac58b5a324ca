"""Images of any size to batches of one shape, with augmentation."""

import dataclasses

import numpy as np

from transformer.batch import Images
from transformer.config import Natural
from transformer.data.sources.image_folder import load_pillow
from transformer.data.sources.images import Pictures


def convert_channels(image_yxc: np.ndarray, channels: int) -> np.ndarray:
  """An image of 1 or 3 channels as one of `channels`; to grey by ITU-R 601 luma."""
  if image_yxc.shape[-1] == channels:
    return image_yxc
  if channels == 3:
    return np.repeat(image_yxc, 3, axis=-1)
  grey_yx = image_yxc @ np.array([0.299, 0.587, 0.114])
  return np.round(grey_yx).astype(np.uint8)[..., None]


RESAMPLINGS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
"""Pillow's filters, each antialiased but for the first."""


def resize_image(
  image_yxc: np.ndarray, height: int, width: int, resample: str = "bilinear"
):
  """An image resized with one of `RESAMPLINGS`."""
  if image_yxc.shape[:2] == (height, width):
    return image_yxc
  pillow = load_pillow()
  channels = image_yxc.shape[-1]
  image = pillow.Image.fromarray(image_yxc[..., 0] if channels == 1 else image_yxc)
  image = image.resize((width, height), pillow.Image.Resampling[resample.upper()])
  return np.asarray(image).reshape(height, width, channels)


def centre_crop(image_yxc: np.ndarray, height: int, width: int):
  """The rectangle in the middle of an image."""
  rows, columns, _ = image_yxc.shape
  top, left = (rows - height) // 2, (columns - width) // 2
  return image_yxc[top : top + height, left : left + width]


@dataclasses.dataclass(frozen=True)
class Resize:
  """How an image of any size becomes a square: the largest one in its middle, resized
  (bilinear)."""

  def __call__(self, image_yxc: np.ndarray, size: int) -> np.ndarray:
    """`[size, size, c]`."""
    side = min(image_yxc.shape[:2])
    return resize_image(centre_crop(image_yxc, side, side), size, size)

  def check(self, size: int) -> None:
    """Raises ValueError where there is no square of `size` pixels a side."""


@dataclasses.dataclass(frozen=True)
class Squash(Resize):
  """The whole image resized to a square whatever its shape, as the image processor of
  ViT does (Hugging Face's transformers), then the square in its middle, as DeiT's does.

  Attributes:
    side: pixels a side of the whole image; 0 stands for those of the square.
    resample: Pillow's filter: nearest, box, bilinear, hamming, bicubic or lanczos.
  """

  side: int = 0
  resample: str = "bilinear"

  def __post_init__(self):
    if self.side < 0:
      raise ValueError(f"resize: expected a side of 0 or more, got {self.side}")
    if self.resample not in RESAMPLINGS:
      raise ValueError(
        f"resize: expected resample {', '.join(RESAMPLINGS)}, got {self.resample!r}"
      )

  def check(self, size: int) -> None:
    if self.side and self.side < size:
      raise ValueError(
        f"task.resize: expected a side of task.size {size} or more, got {self.side}"
      )

  def shape(self, height: int, width: int, side: int) -> tuple[int, int]:
    """That of an image after it was resized."""
    return side, side

  def __call__(self, image_yxc: np.ndarray, size: int) -> np.ndarray:
    rows, columns, _ = image_yxc.shape
    height, width = self.shape(rows, columns, self.side or size)
    return centre_crop(
      resize_image(image_yxc, height, width, self.resample), size, size
    )


@dataclasses.dataclass(frozen=True)
class ShorterSide(Squash):
  """The image resized so that its shorter side has `side` pixels, then the square in
  its middle: what is usual for ImageNet (Krizhevsky et al. 2012, §2)."""

  def shape(self, height: int, width: int, side: int) -> tuple[int, int]:
    # The longer side is cut off to whole pixels, as torchvision and Hugging Face do.
    shorter = min(height, width)
    return side * height // shorter, side * width // shorter


@dataclasses.dataclass(frozen=True)
class Augmentation:
  """The square of an image as in evaluation. Subclasses crop at random, another way in
  every epoch."""

  def __call__(
    self, rng, image_yxc: np.ndarray, size: int, resize: Resize = Resize()
  ) -> np.ndarray:
    """A square, `[size, size, c]`; `rng` is the only source of randomness."""
    return resize(image_yxc, size)


@dataclasses.dataclass(frozen=True)
class RandomCrop(Augmentation):
  """A crop of the image padded with `pixels` of black on every side, and, if `flip`, a
  random horizontal flip (He et al. 2016, §4.2).

  Attributes:
    pixels: of black on every side.
    flip: whether half of the crops are mirrored.
  """

  pixels: Natural = 4
  flip: bool = True

  def __call__(self, rng, image_yxc: np.ndarray, size: int, resize: Resize = Resize()):
    image_yxc = super().__call__(rng, image_yxc, size, resize)
    padded_yxc = np.zeros((*(n + 2 * self.pixels for n in (size, size)),
                         image_yxc.shape[-1]), np.uint8)  # fmt: skip
    inside = slice(self.pixels, self.pixels + size)
    padded_yxc[inside, inside] = image_yxc
    top, left = rng.integers(2 * self.pixels + 1, size=2)
    return random_flip(rng, self.flip, padded_yxc[top : top + size, left : left + size])


@dataclasses.dataclass(frozen=True)
class RandomResizedCrop(Augmentation):
  """A random rectangle of `min_area` to all of the image's area, of ratio 3:4 to 4:3,
  resized, and, if `flip`, a random horizontal flip (Szegedy et al. 2015, §6).

  Attributes:
    min_area: the smallest share of the area, above 0 and at most 1.
    flip: whether half of the crops are mirrored.
  """

  min_area: float = 0.08
  flip: bool = True

  def __post_init__(self):
    if not 0.0 < self.min_area <= 1.0:
      raise ValueError(
        f"RandomResizedCrop.min_area: expected more than 0 and at most 1, got "
        f"{self.min_area}"
      )

  def __call__(self, rng, image_yxc: np.ndarray, size: int, resize: Resize = Resize()):
    rows, columns, _ = image_yxc.shape
    area = rows * columns * rng.uniform(self.min_area, 1.0)
    shape = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
    height = int(np.clip(round((area / shape) ** 0.5), 1, rows))
    width = int(np.clip(round((area * shape) ** 0.5), 1, columns))
    top, left = rng.integers(rows - height + 1), rng.integers(columns - width + 1)
    part_yxc = image_yxc[top : top + height, left : left + width]
    return random_flip(rng, self.flip, resize_image(part_yxc, size, size))


def random_flip(rng, flip: bool, image_yxc: np.ndarray) -> np.ndarray:
  """The image or, if `flip`, with probability 1/2 its mirror image."""
  return image_yxc[:, ::-1] if flip and rng.random() < 0.5 else image_yxc


@dataclasses.dataclass(frozen=True)
class ImageExamples:
  """Labelled images as squares of one size and number of channels, with random access
  to whole batches.

  `batch(members, step)` is a pure function of the seed and the step, and does not
  depend on which rows a process fills. Without a step it has the squares of
  evaluation.
  """

  pictures: Pictures
  size: int
  channels: int
  augmentation: Augmentation = Augmentation()
  seed: int = 0
  resize: Resize = Resize()

  def __len__(self) -> int:
    return len(self.pictures)

  @property
  def label_n(self) -> np.ndarray:
    """The label of each image."""
    return self.pictures.label_n

  def name(self, i: int) -> str:
    """The image's name for a reader."""
    return self.pictures.name(i)

  def batch(self, member_b: np.ndarray, step: int | None = None) -> Images:
    """The images of these numbers, -1 for none."""
    rows = len(member_b)
    image_byxc = np.zeros((rows, self.size, self.size, self.channels), np.uint8)
    label_b, real_b = (np.zeros(rows, np.int32) for _ in range(2))
    for row in np.flatnonzero(member_b >= 0):
      image_yxc, label_b[row] = self.pictures[int(member_b[row])]
      image_yxc, real_b[row] = convert_channels(image_yxc, self.channels), 1
      if step is None:
        image_byxc[row] = self.resize(image_yxc, self.size)
      else:
        rng = np.random.default_rng([self.seed, step, int(row)])
        image_byxc[row] = self.augmentation(rng, image_yxc, self.size, self.resize)
    return Images(image_byxc, label_b, real_b)
