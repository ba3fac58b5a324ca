"""Images of any size to batches of one shape, with augmentation."""

import dataclasses

import numpy as np

from transformer.batch import Images
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


def crop_and_resize(
  image_yxc: np.ndarray, top: int, left: int, height: int, width: int, size: int
):
  """A rectangle of an image, resized to a square of `size` (bilinear, antialiased)."""
  part_yxc = image_yxc[top : top + height, left : left + width]
  if part_yxc.shape[:2] == (size, size):
    return part_yxc
  pillow = load_pillow()
  channels = part_yxc.shape[-1]
  image = pillow.Image.fromarray(part_yxc[..., 0] if channels == 1 else part_yxc)
  image = image.resize((size, size), pillow.Image.Resampling.BILINEAR)
  return np.asarray(image).reshape(size, size, channels)


@dataclasses.dataclass(frozen=True)
class Augmentation:
  """The centre crop: the largest square in the middle of an image, as in evaluation.
  Subclasses crop at random, another way in every epoch."""

  def __call__(self, rng, image_yxc: np.ndarray, size: int) -> np.ndarray:
    """A square crop, `[size, size, c]`; `rng` is the only source of randomness."""
    height, width, _ = image_yxc.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return crop_and_resize(image_yxc, top, left, side, side, size)


@dataclasses.dataclass(frozen=True)
class RandomCrop(Augmentation):
  """A crop of the image padded with `pixels` of black on every side, and, if `flip`, a
  random horizontal flip (He et al. 2016, §4.2).

  Attributes:
    pixels: of black on every side.
    flip: whether half of the crops are mirrored.
  """

  pixels: int = 4
  flip: bool = True

  def __call__(self, rng, image_yxc: np.ndarray, size: int) -> np.ndarray:
    image_yxc = super().__call__(rng, image_yxc, size)
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

  def __call__(self, rng, image_yxc: np.ndarray, size: int) -> np.ndarray:
    rows, columns, _ = image_yxc.shape
    area = rows * columns * rng.uniform(self.min_area, 1.0)
    shape = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
    height = int(np.clip(round((area / shape) ** 0.5), 1, rows))
    width = int(np.clip(round((area * shape) ** 0.5), 1, columns))
    top, left = rng.integers(rows - height + 1), rng.integers(columns - width + 1)
    part_yxc = crop_and_resize(image_yxc, top, left, height, width, size)
    return random_flip(rng, self.flip, part_yxc)


def random_flip(rng, flip: bool, image_yxc: np.ndarray) -> np.ndarray:
  """The image or, if `flip`, with probability 1/2 its mirror image."""
  return image_yxc[:, ::-1] if flip and rng.random() < 0.5 else image_yxc


@dataclasses.dataclass(frozen=True)
class ImageExamples:
  """Labelled images as squares of one size and number of channels, with random access
  to whole batches.

  `batch(members, step)` is a pure function of the seed and the step, and does not
  depend on which rows a process fills. Without a step it has the centre crops.
  """

  pictures: Pictures
  size: int
  channels: int
  augmentation: Augmentation = Augmentation()
  seed: int = 0

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
        image_byxc[row] = Augmentation()(None, image_yxc, self.size)
      else:
        rng = np.random.default_rng([self.seed, step, int(row)])
        image_byxc[row] = self.augmentation(rng, image_yxc, self.size)
    return Images(image_byxc, label_b, real_b)
