"""Drawn shapes, small grey images to pre-train on: made here, no download."""

import dataclasses
import functools
import hashlib

import numpy as np

from transformer.data.sources.base import check_split, split_of
from transformer.data.sources.images import ImageSource, Pictures

FINE = 4
"""Points a side of a pixel, each of which has ink or not."""


def curve(turns: float, radius: float = 1.0, inner: float = 1.0) -> np.ndarray:
  """So many turns of a circle, whose radius becomes `inner`, as 24 straight pieces."""
  angle_n = 2 * np.pi * turns * np.linspace(0, 1, 25)
  radius_n = np.linspace(radius, inner, 25)
  return np.stack([radius_n * np.cos(angle_n), radius_n * np.sin(angle_n)], axis=-1)


def polyline(*points: tuple[float, float]) -> np.ndarray:
  """Straight pieces between points `(x, y)`."""
  return np.array(points, float)


def wave() -> np.ndarray:
  """One period of a sine."""
  x_n = np.linspace(-1, 1, 25)
  return np.stack([x_n, 0.5 * np.sin(np.pi * x_n)], axis=-1)


STROKES = {
  "arc": (curve(0.5),),
  "circle": (curve(1.0),),
  "corner": (polyline((-1, -1), (-1, 1), (1, 1)),),
  "cross": (polyline((-1, 0), (1, 0)), polyline((0, -1), (0, 1))),
  "line": (polyline((-1, 0), (1, 0)),),
  "parallels": (polyline((-1, -0.5), (1, -0.5)), polyline((-1, 0.5), (1, 0.5))),
  "spiral": (curve(1.5, 0.1, 1.0),),
  "square": (polyline((-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)),),
  "tee": (polyline((-1, -1), (1, -1)), polyline((0, -1), (0, 1))),
  "triangle": (polyline((-1, 1), (1, 1), (0, -1), (-1, 1)),),
  "wave": (wave(),),
  "zigzag": (polyline((-1, -1), (1, -1), (-1, 1), (1, 1)),),
}
"""The classes, and the strokes of each: points `(x, y)`, y downwards."""


@dataclasses.dataclass(frozen=True)
class Shapes(ImageSource):
  """Lines, curves and figures of lines, white on black: 12 classes, equally frequent.

  Each is turned, slanted and stretched at random, has a random size and place within
  the image, and strokes of a random width. Image `i` is drawn when it is asked for,
  from (seed, split, i) alone. All images are divided by a hash of their pixels, so none
  of one split is in another.

  Attributes:
    examples: how many training images there are.
    held_out: how many each of val and test has.
    size: pixels a side.
    noise: the standard deviation of every pixel's grey, of which white is 1.
    seed: chooses the images, not the division.
  """

  examples: int = 20_000
  held_out: int = 600
  size: int = 8
  noise: float = 0.05
  seed: int = 0

  def __post_init__(self):
    for name in ("examples", "held_out", "size"):
      if getattr(self, name) < 1:
        raise ValueError(
          f"Shapes.{name}: expected 1 or more, got {getattr(self, name)}"
        )
    if not 0.0 <= self.noise < 1.0:
      raise ValueError(f"Shapes.noise: expected 0 to below 1, got {self.noise}")
    if self.seed < 0:
      raise ValueError(f"Shapes.seed: expected 0 or more, got {self.seed}")

  def open(self, split: str) -> Pictures:
    check_split(split)
    return _pictures(self, split)

  def classes(self) -> tuple[str, ...]:
    return tuple(STROKES)

  def fingerprint(self, split: str) -> str:
    # The number is that of the drawing, and changes with it.
    return hashlib.sha256(f"{self} {split} {self.classes()} 1".encode()).hexdigest()


@functools.lru_cache(maxsize=8)
def _pictures(recipe: Shapes, split: str) -> "_Drawn":
  return _Drawn(recipe, split)


class _Drawn(Pictures):
  """Images that are drawn when they are first asked for, and kept."""

  def __init__(self, recipe: Shapes, split: str):
    self._recipe, self._split = recipe, split
    size = recipe.examples if split == "train" else recipe.held_out
    self.label_n = (np.arange(size) % len(STROKES)).astype(np.int32)
    self._drawn = functools.cache(self._draw)

  def image(self, i: int) -> np.ndarray:
    return self._drawn(int(i))

  def _draw(self, i: int) -> np.ndarray:
    recipe = self._recipe
    number = ("train", "val", "test").index(self._split)
    rng = np.random.default_rng([recipe.seed, number, i])
    strokes = tuple(STROKES.values())[self.label_n[i]]
    while True:
      grey_yx = draw(*place(rng, strokes), recipe.size)
      grey_yx += recipe.noise * rng.standard_normal(grey_yx.shape)
      image_yx = np.round(255 * np.clip(grey_yx, 0, 1)).astype(np.uint8)
      if split_of(image_yx.tobytes().hex()) == self._split:
        return image_yx[..., None]


def place(rng, strokes: tuple[np.ndarray, ...]) -> tuple[tuple[np.ndarray, ...], float]:
  """Strokes turned, slanted, stretched and put somewhere in the unit square, and half
  of their width."""
  angle, slant, stretch = rng.uniform((0.0, -0.4, 0.6), (2 * np.pi, 0.4, 1.0))
  half = rng.uniform(0.05, 0.1)
  turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
  matrix = np.array([[1.0, 0.0], [0.0, stretch]]) @ turn
  matrix = matrix @ np.array([[1.0, 0.0], [slant, 1.0]])
  moved = tuple(points @ matrix for points in strokes)
  low, high = (f(np.concatenate(moved), axis=0) for f in (np.min, np.max))
  size = rng.uniform(0.6, 1.0) * (1 - 2 * half)
  factor = size / max(high - low)
  free = 1 - 2 * half - factor * (high - low)
  corner = half + free * rng.uniform(size=2)
  return tuple(corner + factor * (points - low) for points in moved), half


def draw(strokes: tuple[np.ndarray, ...], half: float, size: int) -> np.ndarray:
  """The share of each pixel, `[size, size]`, that lies within `half` of a stroke; the
  image is the unit square."""
  n = FINE * size
  centre_n = (np.arange(n) + 0.5) / n
  x_p, y_p = (a.ravel() for a in np.meshgrid(centre_n, centre_n))
  point_p12 = np.stack([x_p, y_p], axis=-1)[:, None]
  start_s2 = np.concatenate([points[:-1] for points in strokes])
  along_s2 = np.concatenate([np.diff(points, axis=0) for points in strokes])
  offset_ps2 = point_p12 - start_s2
  share_ps = (offset_ps2 * along_s2).sum(-1) / (along_s2**2).sum(-1)
  nearest_ps2 = offset_ps2 - np.clip(share_ps, 0, 1)[..., None] * along_s2
  inked_p = ((nearest_ps2**2).sum(-1) <= half**2).any(-1)
  return inked_p.reshape(size, FINE, size, FINE).mean(axis=(1, 3))
