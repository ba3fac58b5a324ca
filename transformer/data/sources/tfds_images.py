"""Labelled images of TensorFlow Datasets."""

import dataclasses
import functools

import numpy as np

from transformer.data.sources.base import check_split
from transformer.data.sources.images import ImageSource, Pictures
from transformer.data.sources.tfds import open_builder, present_split, split_fingerprint


@dataclasses.dataclass(frozen=True)
class TfdsImages(ImageSource):
  """A prepared set of labelled images such as `cifar10` or `imagenette/320px-v2`; see
  `Tfds` for how it is prepared.

  A set without a split for val or for test gives its other held-out split for both.

  Attributes:
    name: builder and config.
    image, label: the features to look at and to tell.
    directory: where the prepared data lies; TFDS's own place if empty.
  """

  name: str
  image: str = "image"
  label: str = "label"
  directory: str = ""

  def open(self, split: str) -> Pictures:
    check_split(split)
    builder = self.builder()
    found = present_split(builder, split)
    if found not in builder.info.splits:
      raise ValueError(
        f"Tfds: {builder.info.full_name} has no split {found}; there are "
        f"{', '.join(builder.info.splits)}"
      )
    return _Prepared(builder, found, self)

  def classes(self) -> tuple[str, ...]:
    label = self.builder().info.features[self.label]
    return tuple(getattr(label, "names", None) or map(str, range(label.num_classes)))

  def fingerprint(self, split: str) -> str:
    return split_fingerprint(
      self.name, self.directory, split, f"{self.image} {self.label}"
    )

  def builder(self):
    """TFDS's builder; errors as of `open_builder`, and ValueError where the features
    are others."""
    builder = open_builder(self.name, self.directory)
    features = dict(builder.info.features.items())
    for name, what in ((self.image, "shape"), (self.label, "num_classes")):
      if not hasattr(features.get(name), what):
        raise ValueError(
          f"Tfds: {builder.info.full_name} has no labelled images under {self.image!r} "
          f"and {self.label!r}; its features are {list(features)}"
        )
    image = features[self.image]
    if image.np_dtype != np.uint8 or image.shape[-1] not in (1, 3, None):
      raise ValueError(
        f"Tfds: {builder.info.full_name} has images of {np.dtype(image.np_dtype)} "
        f"{image.shape}; expected uint8 and 1 or 3 channels"
      )
    return builder


class _Prepared(Pictures):
  def __init__(self, builder, split: str, recipe: TfdsImages):
    self._name, self._image = f"{builder.info.full_name} {split}", recipe.image
    self._data = builder.as_data_source(split=split)
    self.label_n = _labels(recipe, split)

  def name(self, i: int) -> str:
    return f"{self._name} {i}"

  def image(self, i: int) -> np.ndarray:
    return np.asarray(self._data[i][self._image], np.uint8)


@functools.cache
def _labels(recipe: TfdsImages, split: str) -> np.ndarray:
  """The labels of a prepared split, for which no image is decoded."""
  import tensorflow_datasets as tfds

  blind = recipe.builder().as_data_source(
    split=split, decoders={recipe.image: tfds.decode.SkipDecoding()}
  )
  labels = (blind[i][recipe.label] for i in range(len(blind)))
  return np.fromiter(labels, np.int32, len(blind))
