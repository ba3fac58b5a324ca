"""The interface of a source of labelled images."""

import abc
import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from transformer.data.sources.base import Source


class Picture(NamedTuple):
  """An image of any size and what is on it."""

  image_yxc: np.ndarray  # uint8; one colour or three
  label: int  # its place in the classes


class Pictures(Sequence[Picture]):
  """Images with random access; `label_n` are the labels of all, int32."""

  label_n: np.ndarray

  def __len__(self) -> int:
    return len(self.label_n)

  def name(self, i: int) -> str:
    """Which image is meant, for a reader."""
    return f"image {i}"

  def __getitem__(self, i):
    if isinstance(i, slice):
      return [self[j] for j in range(*i.indices(len(self)))]
    if not 0 <= i < len(self):
      raise IndexError(i)
    return Picture(self.image(i), int(self.label_n[i]))

  @abc.abstractmethod
  def image(self, i: int) -> np.ndarray:
    """Image `i`, uint8 `[y, x, c]`."""


@dataclasses.dataclass(frozen=True)
class ImageSource(Source):
  """A recipe for labelled images."""

  @abc.abstractmethod
  def open(self, split: str) -> Pictures:
    """The images of a split; errors as in `Source.open`."""

  @abc.abstractmethod
  def classes(self) -> tuple[str, ...]:
    """The names of the classes, in the order of the labels."""
