"""Image files in a folder for each class."""

import contextlib
import dataclasses
import hashlib
import io
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from transformer.config import abbreviate
from transformer.data.sources.base import check_split, split_of
from transformer.data.sources.images import ImageSource, Pictures
from transformer.printing import print_once

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")

BITS_PER_SAMPLE, PHOTOMETRIC_INTERPRETATION, ORIENTATION = 258, 262, 274
"""Tags of TIFF 6.0, the last also of EXIF."""

WHITE_IS_ZERO = 0
"""A value of `PHOTOMETRIC_INTERPRETATION`, which Pillow heeds up to 8 bits."""

WARNINGS_LOCK = threading.Lock()
"""Python catches the warnings of all threads at once, and images are read ahead in one
of their own."""


@dataclasses.dataclass(frozen=True)
class ImageFolder(ImageSource):
  """Image files in a directory, a sub-directory for each class.

  Where the directory has `train`, and `val` or `test`, the classes are in these, and
  one of the two serves for both where the other is absent. Elsewhere a tenth of the
  files is held out for each, by a hash of their names. Hidden files and directories,
  whose names begin with a dot, are left out.

  Attributes:
    directory: where the images are.
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
      found = sorted(folder.iterdir())
    except OSError as error:
      raise type(error)(f"{folder}: cannot be read ({error.strerror})") from None
    return [path for path in found if not path.name.startswith(".")]

  def _files(self, split: str) -> tuple[list[Path], np.ndarray]:
    folder, divided = self._folder(split)
    divided |= split == "train" and self._folder("val")[1]
    files: list[Path] = []
    labels: list[int] = []
    classes = self.classes()
    folders = (path.name for path in self._entries(folder) if path.is_dir())
    if unknown := sorted({*folders} - {*classes}):
      raise ValueError(
        f"{folder}: no class of {self._folder('train')[0]} is called "
        f"{abbreviate(', '.join(unknown))}; rename or remove it"
      )
    for label, name in enumerate(classes):
      if not (folder / name).is_dir():
        continue
      for path in self._entries(folder / name):
        if path.suffix.lower() in SUFFIXES and (
          not divided or split_of(f"{name}/{path.name}") == split
        ):
          files.append(path)
          labels.append(label)
    if not files:
      raise ValueError(f"{folder}: no image files for {split!r} in its sub-directories")
    return files, np.array(labels, np.int32)


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

  16 bits of grey are scaled to 8, and transparent areas become white. What Pillow warns
  of, such as damaged EXIF data, is a line on standard error, once a file.

  Raises:
    OSError: it cannot be read.
    ValueError: it is no image, or too large, or one of several frames or of numbers
      without a fixed white, or Pillow is not installed.
  """
  pillow = load_pillow()
  try:
    data = Path(file).read_bytes()
  except OSError as error:
    raise type(error)(f"{file}: cannot be read ({error.strerror})") from None
  try:
    with (
      warnings_of(file, pillow.Image),
      pillow.Image.open(io.BytesIO(data)) as image,
    ):
      # A camera's MPO file begins with the photograph; views and depths follow it.
      frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
      if frames == 1:
        return to_bytes(pillow.ImageOps.exif_transpose(to_8_bits(image)))
    reason = f"it has {frames} frames; save each as a file of its own"
  except pillow.UnidentifiedImageError:
    reason = "no image format that Pillow knows"
  except pillow.Image.DecompressionBombError:
    most = 2 * pillow.Image.MAX_IMAGE_PIXELS
    reason = f"it has more than {most:,} pixels; make it smaller"
  # A decoder raises whatever its format's parser meets in a damaged file.
  except Exception as error:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
  raise ValueError(f"{file}: not an image that can be read ({reason})")


@contextlib.contextmanager
def warnings_of(file: Path | str, module) -> Iterator[None]:
  """A context in which what Pillow, whose module `Image` is given, warns of is a line
  that names the file."""
  with WARNINGS_LOCK, warnings.catch_warnings(record=True) as caught:
    for category in (UserWarning, RuntimeWarning):
      warnings.simplefilter("always", category)
    yield
  for warning in caught:
    text = " ".join(str(warning.message).split())
    if issubclass(warning.category, module.DecompressionBombWarning):
      most = module.MAX_IMAGE_PIXELS
      text = f"it has more than {most:,} pixels, which take long; make it smaller"
    print_once(f"warning: {file}: {text}")


def to_8_bits(image):
  """An image of whole bytes, and its orientation; grey of 12 or 16 bits is scaled.

  Raises:
    ValueError: its numbers have no fixed white: floats, or integers of 32 bits.
  """
  if not image.mode.startswith(("I", "F")):
    return image
  # Of what Pillow opens as 32 bits, only these formats' numbers end at 65,535.
  if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
    kind = "floats" if image.mode == "F" else "integers of more than 16 bits"
    raise ValueError(
      f"its pixels are {kind}, of no fixed white; save it as 8 or 16 bits"
    )
  tags = getattr(image, "tag_v2", {})
  white = 2 ** tags.get(BITS_PER_SAMPLE, (16,))[0] - 1
  value_yx = np.asarray(image, np.int64)
  transparent_yx = value_yx == image.info.get("transparency", -1)
  if tags.get(PHOTOMETRIC_INTERPRETATION) == WHITE_IS_ZERO:
    value_yx = white - value_yx
  value_yx = np.where(transparent_yx, white, value_yx)
  exif = image.getexif()
  scaled = load_pillow().Image.fromarray(
    np.round(value_yx * (255 / white)).astype("u1")
  )
  scaled.getexif().update({ORIENTATION: exif.get(ORIENTATION, 1)})
  return scaled


def to_bytes(image) -> np.ndarray:
  """An image of 8 bits as uint8 `[y, x, c]`, its transparent areas on white."""
  mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
  if image.has_transparency_data:
    image = image.convert("RGBA")
    white = load_pillow().Image.new("RGBA", image.size, "white")
    white.alpha_composite(image)
    image = white
  return np.array(image.convert(mode)).reshape(image.height, image.width, -1)


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
