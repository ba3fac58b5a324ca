"""Text that people give: how it is read, and what of it is empty.

Text is UTF-8, plain or gzipped. A byte order mark at its start is no part of it. Only
`\\n` or `\\r\\n` ends a line; other separators are text.
"""

import gzip
import io
import unicodedata
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

BYTE_ORDER_MARK = "\ufeff"

GZIP_MAGIC = b"\x1f\x8b"

GZIP_ERRORS = (gzip.BadGzipFile, EOFError, zlib.error)
"""What reading gzip raises where the data is damaged, cut off or something else."""

VISIBLE_FORMATS = frozenset(
  map(chr, (*range(0x0600, 0x0606), 0x06DD, 0x070F, 0x0890, 0x0891, 0x08E2, 0x110BD,
            0x110CD))
)  # fmt: skip
"""Characters of the category Cf that are drawn: Prepended_Concatenation_Mark."""

INVISIBLE = frozenset(
  map(chr, (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), 0x2065,
            0x2800, 0x3164, *range(0xFE00, 0xFE10), 0xFFA0, *range(0xFFF0, 0xFFF9),
            *range(0xE0000, 0xE1000)))
)  # fmt: skip
"""Characters of other categories that are not drawn: Default_Ignorable_Code_Point
(Unicode 15, DerivedCoreProperties), and the blank Braille pattern."""


def is_visible(character: str) -> bool:
  """Whether a character is drawn.

  Separators (Z), controls (Cc), formats (Cf) but for those that are drawn,
  noncharacters and what Unicode says to ignore are not. Private-use (Co) and unassigned
  (Cn) characters are: a font or a newer Unicode may know them; so are surrogates (Cs),
  which are no text and are to be refused (`check_text`).
  """
  category = unicodedata.category(character)
  if category == "Cf":
    return character in VISIBLE_FORMATS
  if category[0] == "Z" or category == "Cc" or character in INVISIBLE:
    return False
  code = ord(character)
  return not (0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE)


def is_blank(text: str) -> bool:
  """Whether a text has no visible character, and so is empty to whoever reads it."""
  return not any(map(is_visible, text))


def blank_to_empty(text: str) -> str:
  """The text unchanged; an empty one if it is blank."""
  return "" if is_blank(text) else text


def check_text(text: str) -> None:
  """Raises ValueError if a text is not Unicode: bytes that are not UTF-8, as Python
  keeps them in arguments and file names, or other lone surrogates."""
  try:
    text.encode("utf-8")
  except UnicodeEncodeError as error:
    code = ord(text[error.start])
    found = (
      f"invalid UTF-8 (0x{code - 0xDC00:02x} at character {error.start + 1})"
      if 0xDC80 <= code <= 0xDCFF
      else f"invalid Unicode (U+{code:04X} alone at character {error.start + 1})"
    )
    raise ValueError(f"{found}; convert the text to UTF-8") from None


def readable(texts: Iterable[str]) -> list[str]:
  """The texts as a tokenizer reads them: blank ones are empty.

  Raises:
    ValueError: a text is not Unicode.
  """
  texts = list(texts)
  for text in texts:
    check_text(text)
  return [blank_to_empty(text) for text in texts]


def open_text(path: Path) -> BinaryIO:
  """A file opened for `decode_lines`.

  Raises:
    OSError: it cannot be read.
  """
  try:
    return path.open("rb")
  except OSError as error:
    raise type(error)(f"{path}: cannot be read ({error.strerror})") from None


def plain_bytes(stream: BinaryIO, name: str) -> BinaryIO:
  """A stream of the plain text of a stream: unpacked if it is gzip, which its first
  bytes tell.

  Raises:
    ValueError: its name is that of a gzip file and it is something else.
  """
  if not hasattr(stream, "peek"):
    stream = cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, stream)))
  start = stream.peek(len(GZIP_MAGIC))  # type: ignore[attr-defined]
  if start.startswith(GZIP_MAGIC):
    return cast(BinaryIO, gzip.GzipFile(fileobj=stream))
  if name.lower().endswith(".gz") and start:
    raise ValueError(f"{name}: not a gzip file")
  return stream


def decode_lines(stream: BinaryIO, name: str) -> Iterator[str | ValueError]:
  """The lines of a stream as they come; for one that is not UTF-8 an error, which the
  caller may raise, with `name` and the line's number.

  Raises:
    ValueError: the stream is damaged gzip.
    OSError: it cannot be read.
  """
  lines = iter(plain_bytes(stream, name))
  number = 0
  while True:
    try:
      line = next(lines)
    except StopIteration:
      return
    except GZIP_ERRORS as error:
      raise damaged(name, error) from None
    except OSError as error:
      raise OSError(f"{name}: cannot be read ({error.strerror or error})") from None
    number += 1
    try:
      text = line.decode("utf-8")
    except UnicodeDecodeError as error:
      yield ValueError(
        f"{name}: line {number:,}: invalid UTF-8 (byte {error.start + 1} of the line "
        f"is 0x{line[error.start]:02x}); convert the text to UTF-8"
      )
      continue
    if number == 1:
      text = text.removeprefix(BYTE_ORDER_MARK)
    yield text.removesuffix("\n").removesuffix("\r")


def read_bytes(path: Path) -> bytes:
  """The plain text of a file, without a byte order mark at its start.

  Raises:
    OSError: it cannot be read.
    ValueError: it is damaged gzip.
  """
  with open_text(path) as stream:
    try:
      data = plain_bytes(stream, str(path)).read()
    except GZIP_ERRORS as error:
      raise damaged(str(path), error) from None
    except OSError as error:
      raise OSError(f"{path}: cannot be read ({error.strerror})") from None
  return data.removeprefix(BYTE_ORDER_MARK.encode())


def damaged(name: str, error: Exception) -> ValueError:
  """The error of a gzip file that is not whole."""
  return ValueError(f"{name}: not a whole gzip file ({error})")
