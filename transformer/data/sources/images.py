"""Labelled images: scikit-learn's digits, folders, TensorFlow Datasets."""

import abc
import dataclasses
import functools
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from transformer.data.sources.base import Source, check_split
from transformer.data.sources.tfds import open_builder, present_split, split_fingerprint


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


@dataclasses.dataclass(frozen=True)
class Digits(ImageSource):
  """The 1,797 handwritten digits that come with scikit-learn, 8 x 8 and grey: the test
  set of Alpaydin and Kaynak's *Optical Recognition of Handwritten Digits* (UCI, 1998).

  The splits are the file's first 1,245 images, the next 276 and the last 276. In its
  order those of one writer lie together, so that held-out digits are, but for the
  borders, by other hands; a random division is easier.

  `examples` is how many of those for training are taken, evenly from the whole.
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


SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")


@dataclasses.dataclass(frozen=True)
class ImageFolder(ImageSource):
  """Image files in a directory, a sub-directory for each class.

  Where the directory has `train`, and `val` or `test`, the classes are in these, and
  one of the two serves for both where the other is absent. Elsewhere a tenth of the
  files is held out for each, by a hash of their names.
  """

  directory: str

  def open(self, split: str) -> Pictures:
    check_split(split)
    return Files(*self._files(split))

  def classes(self) -> tuple[str, ...]:
    folder, _ = self._folder("train")
    found = [path for path in self._entries(folder) if path.is_dir()]
    if len(found) < 2:
      raise ValueError(
        f"{folder}: {len(found)} sub-directories; a folder of images has one for each "
        "class, and at least two"
      )
    return tuple(path.name for path in found)

  def fingerprint(self, split: str) -> str:
    """Of names and sizes: the files are not read."""
    files, label_n = self._files(split)
    parts = [
      f"{path.parent.name}/{path.name} {path.stat().st_size} {label}"
      for path, label in zip(files, label_n, strict=True)
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()

  def _folder(self, split: str) -> tuple[Path, bool]:
    """Where a split's classes are, and whether it is divided there by names."""
    root = Path(self.directory)
    names = {"train": ("train",), "val": ("val", "test"), "test": ("test", "val")}
    if not (root / "train").is_dir():
      return root, True
    for name in names[split]:
      if (root / name).is_dir():
        return root / name, False
    return root / "train", True

  def _entries(self, folder: Path) -> list[Path]:
    try:
      return sorted(folder.iterdir())
    except OSError as error:
      raise type(error)(f"{folder}: cannot be read ({error.strerror})") from None

  def _files(self, split: str) -> tuple[list[Path], np.ndarray]:
    folder, divided = self._folder(split)
    divided |= split == "train" and self._folder("val")[1]
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(self.classes()):
      if not (folder / name).is_dir():
        continue
      for path in self._entries(folder / name):
        if path.suffix.lower() in SUFFIXES and (
          not divided or _split_of(f"{name}/{path.name}") == split
        ):
          files.append(path)
          labels.append(label)
    if not files:
      raise ValueError(f"{folder}: no image files for {split!r} in its sub-directories")
    return files, np.array(labels, np.int32)


def _split_of(name: str) -> str:
  share = hashlib.sha256(f"which split? {name}".encode()).digest()[0]
  return "val" if share < 26 else "test" if share < 52 else "train"


class Files(Pictures):
  """Image files, each read when it is asked for."""

  def __init__(self, files: Sequence[Path | str], label_n: np.ndarray):
    self._files, self.label_n = files, label_n

  def name(self, i: int) -> str:
    return str(self._files[i])

  def image(self, i: int) -> np.ndarray:
    return read_image(self._files[i])


def read_image(file: Path | str) -> np.ndarray:
  """The image in a file, uint8 `[y, x, c]`, turned as its camera says; grey stays grey,
  and anything else becomes red, green and blue.

  Raises:
    OSError: it cannot be read.
    ValueError: it is no image, or Pillow is not installed.
  """
  pillow = load_pillow()
  try:
    data = Path(file).read_bytes()
  except OSError as error:
    raise type(error)(f"{file}: cannot be read ({error.strerror})") from None
  try:
    with pillow.Image.open(io.BytesIO(data)) as image:
      image = pillow.ImageOps.exif_transpose(image)
      image = image.convert("L" if image.mode in ("1", "L") else "RGB")
      return np.array(image).reshape(image.height, image.width, -1)
  except (OSError, SyntaxError, pillow.Image.DecompressionBombError) as error:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    raise ValueError(f"{file}: not an image that can be read ({reason})") from None


def load_pillow():
  """Pillow, with its modules `Image` and `ImageOps`.

  Raises:
    ValueError: it is not installed.
  """
  try:
    import PIL.Image
    import PIL.ImageOps
  except ImportError:
    raise ValueError(
      "image files are read with Pillow, which is not installed: "
      "pip install 'transformer[images]'"
    ) from None
  return PIL


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
