"""The handwritten digits of scikit-learn."""

import dataclasses
import functools
import hashlib

import numpy as np

from transformer.data.sources.base import check_split
from transformer.data.sources.images import ImageSource, Pictures


@dataclasses.dataclass(frozen=True)
class Digits(ImageSource):
  """The 1,797 handwritten digits that come with scikit-learn, 8 x 8 and grey: the test
  set of Alpaydin and Kaynak's *Optical Recognition of Handwritten Digits* (UCI, 1998).

  The splits are the file's first 1,245 images, the next 276 and the last 276. In its
  order those of one writer lie together, so that held-out digits are, but for the
  borders, by other hands; a random division is easier.

  Attributes:
    examples: how many training images are taken, evenly from the whole.
  """

  examples: int = 1245

  def __post_init__(self):
    if not 1 <= self.examples <= 1245:
      raise ValueError(f"data.examples: {self.examples} is not between 1 and 1,245")

  def open(self, split: str) -> Pictures:
    check_split(split)
    image_nyxc, label_n = _digits()
    first = {"train": 0, "val": 1245, "test": 1521}[split]
    last = {"train": 1245, "val": 1521, "test": len(label_n)}[split]
    n = self.examples if split == "train" else last - first
    chosen_n = first + np.arange(n) * (last - first) // n
    return _Held(image_nyxc[chosen_n], label_n[chosen_n])

  def classes(self) -> tuple[str, ...]:
    return tuple("0123456789")

  def fingerprint(self, split: str) -> str:
    held = self.open(split)
    text = b"".join(picture.image_yxc.tobytes() for picture in held)
    return hashlib.sha256(text + held.label_n.tobytes()).hexdigest()


class _Held(Pictures):
  """Images in memory."""

  def __init__(self, image_nyxc: np.ndarray, label_n: np.ndarray):
    self._image_nyxc, self.label_n = image_nyxc, label_n

  def image(self, i: int) -> np.ndarray:
    return self._image_nyxc[i]


@functools.cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
  try:
    from sklearn.datasets import load_digits
  except ImportError:
    raise ValueError(
      "--config.data: Digits() are part of scikit-learn, which is not installed: "
      "pip install 'transformer[images]'"
    ) from None
  image_nyx, label_n = (getattr(load_digits(), name) for name in ("images", "target"))
  # Sixteen steps of grey.
  image_nyx = np.round(image_nyx * (255 / 16)).astype(np.uint8)
  return image_nyx[..., None], label_n.astype(np.int32)
