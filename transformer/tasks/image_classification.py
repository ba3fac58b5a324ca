"""Classification of images."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from transformer.batch import Images
from transformer.data.batching import Shape
from transformer.data.images import Augmentation, Squares
from transformer.data.sources.base import Source
from transformer.data.sources.images import Files, ImageSource, Pictures
from transformer.data.tokenizer import SentencePiece
from transformer.data.vocabulary import WordVocabulary
from transformer.tasks.classification import Classification, check_rows


@dataclasses.dataclass(frozen=True)
class ImageClassification(Classification):
  """What is on an image.

  Attributes:
    size: every image is brought to a square of so many pixels a side.
    channels: 3, or 1 for grey.
    augmentation: how training looks at an image; evaluation takes the middle.
  """

  size: int = 224
  channels: int = 3
  augmentation: Augmentation = Augmentation()

  def __post_init__(self):
    if self.size < 1 or self.channels not in (1, 3):
      raise ValueError(
        f"task: images of size {self.size} with {self.channels} colours; the size is 1 "
        "or more, and the colours are 1 or 3"
      )

  def make_vocabulary(self, data: Source, recipe: SentencePiece) -> bytes:
    return WordVocabulary.write(images_of(data).classes())

  def vocabulary_size(self, data: Source, recipe: SentencePiece) -> int:
    return len(images_of(data).classes())

  def example(self, shape: Shape) -> Images:
    check_rows(shape)
    square = shape.rows, self.size, self.size, self.channels
    label_b, real_b = (np.zeros(shape.rows, np.int32) for _ in range(2))
    return Images(np.zeros(square, np.uint8), label_b, real_b)

  def examples(
    self, data: Source, split: str, vocabulary: Any, seed: int = 0
  ) -> Squares:
    source = images_of(data)
    if source.classes() != self.classes(vocabulary):
      raise ValueError(
        f"--config.data: {type(data).__name__} has other classes than the run, whose "
        f"are {', '.join(self.classes(vocabulary))}"
      )
    return self.squares(source.open(split), seed)

  def read(self, inputs: Sequence[str], vocabulary: Any) -> Squares:
    return self.squares(Files(inputs, np.zeros(len(inputs), np.int32)))

  def squares(self, pictures: Pictures, seed: int = 0) -> Squares:
    """Images brought to the task's shape."""
    return Squares(pictures, self.size, self.channels, self.augmentation, seed)


def images_of(data: Source) -> ImageSource:
  """`data`, if it gives images.

  Raises:
    ValueError: it does not.
  """
  if not isinstance(data, ImageSource):
    raise ValueError(
      f"--config.data: {type(data).__name__} gives texts, and this task looks at "
      "images; take Digits(), ImageFolder(...) or TfdsImages(...)"
    )
  return data
