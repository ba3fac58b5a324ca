"""How a Hugging Face directory reads images: its preprocessor_config.json."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from transformer.data.images import Resize, ShorterSide, Squash
from transformer.layers.images import PixelNorm

FILE = "preprocessor_config.json"

RESAMPLINGS = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
"""Pillow's filters by their numbers."""


class ImageProcessor(NamedTuple):
  """What is done with an image before the model.

  Attributes:
    resize: how it becomes a square.
    size: pixels a side of the square.
    factor: what its bytes are multiplied by.
    mean, deviation: what is then subtracted, and what divides the rest; one for each
      channel.
  """

  resize: Resize
  size: int
  factor: float
  mean: tuple[float, ...]
  deviation: tuple[float, ...]

  def pixels(self) -> PixelNorm:
    """The same as a recipe, which divides bytes by 255 first."""
    scale = 255.0 * self.factor  # rounded below: 1/255 in a file is not exact
    mean, deviation = (
      tuple(round(x / scale, 12) for x in values)
      for values in (self.mean, self.deviation)
    )
    return PixelNorm(mean, deviation)

  def normalise(self, image_byxc: np.ndarray) -> np.ndarray:
    """The numbers that the model reads of squares `[b, y, x, c]`, float32."""
    mean_c, deviation_c = np.asarray(self.mean), np.asarray(self.deviation)
    return ((image_byxc * self.factor - mean_c) / deviation_c).astype(np.float32)


def read_image_processor(settings: Mapping[str, Any], channels: int) -> ImageProcessor:
  """The settings of a preprocessor_config.json as they are meant.

  Raises:
    ValueError: there are none, or one is wrong or not covered.
  """
  if not settings:
    raise ValueError(
      f"{FILE}: expected the settings of an image processor; save that of the model "
      "beside it"
    )

  def get(name: str, default: Any) -> Any:
    value = settings.get(name)  # null stands for the default
    value = default if value is None else value
    if type(value) is int and type(default) is float:
      return float(value)
    if type(value) is not type(default):
      raise ValueError(
        f"{FILE}: {name}: expected {type(default).__name__}, got {value!r}"
      )
    return value

  if not get("do_resize", True):
    raise ValueError(f"{FILE}: do_resize: False is not covered, only True")
  number = get("resample", 2)
  if not 0 <= number < len(RESAMPLINGS):
    raise ValueError(f"{FILE}: resample: expected a filter of Pillow, got {number}")
  side, kind = _side("size", settings.get("size"))
  size = side
  if get("do_center_crop", False):
    size, _ = _side("crop_size", settings.get("crop_size"))
  elif kind is ShorterSide:
    raise ValueError(
      f"{FILE}: size: a shortest_edge without do_center_crop is not covered: images "
      "would have different shapes"
    )
  resize = kind(0 if side == size else side, RESAMPLINGS[number])
  factor = get("rescale_factor", 1 / 255) if get("do_rescale", True) else 1.0
  mean, deviation = (0.0,) * channels, (1.0,) * channels
  if get("do_normalize", True):
    mean, deviation = (
      _per_channel(name, settings.get(name), channels)
      for name in ("image_mean", "image_std")
    )
  if factor <= 0 or min(deviation) <= 0:
    raise ValueError(
      f"{FILE}: expected rescale_factor and image_std above 0, got {factor} and "
      f"{deviation}"
    )
  return ImageProcessor(resize, size, factor, mean, deviation)


def _side(name: str, value: Any) -> tuple[int, type[Squash]]:
  """The side of a square, and whether it is that of a whole image or its shorter
  side."""
  kind = Squash
  if isinstance(value, dict):
    if set(value) == {"shortest_edge"}:
      kind = ShorterSide
    elif set(value) != {"height", "width"} or value["height"] != value["width"]:
      raise ValueError(
        f"{FILE}: {name}: {value} is not covered, only squares and a shortest_edge"
      )
    value = next(iter(value.values()))
  if type(value) is not int or value < 1:
    raise ValueError(f"{FILE}: {name}: expected pixels, 1 or more, got {value!r}")
  return value, kind


def _per_channel(name: str, values: Any, channels: int) -> tuple[float, ...]:
  if not isinstance(values, list) or len(values) != channels or not all(
    type(x) in (int, float) for x in values
  ):  # fmt: skip
    raise ValueError(
      f"{FILE}: {name}: expected {channels} numbers, one for each channel, got "
      f"{values!r}"
    )
  return tuple(map(float, values))
