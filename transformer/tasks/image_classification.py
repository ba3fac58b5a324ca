"""Classification of images."""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from transformer.batch import Images
from transformer.data.batching import Shape
from transformer.data.images import Augmentation, ImageExamples, Resize
from transformer.data.sources.base import Source
from transformer.data.sources.image_folder import Files
from transformer.data.sources.images import ImageSource, Pictures
from transformer.data.tokenizer import TokenizerRecipe
from transformer.data.vocabulary import WordVocabulary
from transformer.tasks.classification import ExampleClassification, check_rows


@dataclasses.dataclass(frozen=True)
class ImageClassification(ExampleClassification):
  """The class of an image.

  A run that starts from another has the classes of its own data: where these are more
  or fewer, a new head (Dosovitskiy et al. 2021, §3.2).

  Attributes:
    size: pixels a side of the square that every image is resized to.
    channels: 3, or 1 for grey.
    augmentation: of training images.
    resize: how an image becomes a square in evaluation.
  """

  inherits_vocabulary: ClassVar[bool] = False

  size: int = 224
  channels: int = 3
  augmentation: Augmentation = Augmentation()
  resize: Resize = Resize()

  def __post_init__(self):
    if self.size < 1 or self.channels not in (1, 3):
      raise ValueError(
        f"task: expected size 1 or more and 1 or 3 channels, got {self.size} and "
        f"{self.channels}"
      )
    self.resize.check(self.size)

  def make_vocabulary(self, data: Source, recipe: TokenizerRecipe) -> bytes:
    return WordVocabulary.write(images_of(data).classes())

  def vocabulary_size(self, data: Source, recipe: TokenizerRecipe) -> int:
    return len(images_of(data).classes())

  def example(self, shape: Shape) -> Images:
    check_rows(shape)
    image_byxc = np.zeros((shape.rows, self.size, self.size, self.channels), np.uint8)
    label_b, real_b = (np.zeros(shape.rows, np.int32) for _ in range(2))
    return Images(image_byxc, label_b, real_b)

  def examples(
    self, data: Source, split: str, vocabulary: Any, seed: int = 0
  ) -> ImageExamples:
    source = images_of(data)
    if source.classes() != self.classes(vocabulary):
      raise ValueError(
        f"--config.data: {type(data).__name__} has other classes than the run, which "
        f"has {', '.join(self.classes(vocabulary))}"
      )
    return self.image_examples(source.open(split), seed)

  def read(self, inputs: Sequence[str], vocabulary: Any) -> ImageExamples:
    return self.image_examples(Files(inputs, np.zeros(len(inputs), np.int32)))

  def image_examples(self, pictures: Pictures, seed: int = 0) -> ImageExamples:
    """Images in the task's shape."""
    return ImageExamples(
      pictures, self.size, self.channels, self.augmentation, seed, self.resize
    )


def images_of(data: Source) -> ImageSource:
  """`data`, if it is of images.

  Raises:
    ValueError: it is not.
  """
  if not isinstance(data, ImageSource):
    raise ValueError(
      f"--config.data: expected images, got {type(data).__name__}, which is of texts; "
      "take Digits(), ImageFolder(...) or TfdsImages(...)"
    )
  return data
