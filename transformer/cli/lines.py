"""Lines in and lines out, of files of any size."""

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

CHUNK_LINES = 4096
"""Lines processed at a time, so that files of any size take bounded memory."""

WRITE_BYTES = 4096
"""Bytes written at once where lines are shorter; a pipe takes that many atomically."""


def input_chunks(
  stack: contextlib.ExitStack, texts: list[str], path: Path | None, single: bool = False
) -> Iterator[list[str]]:
  """The texts of the command line, or the lines of a file or of standard input, in
  chunks; with `single`, and for lines typed at a terminal, one at a time.

  Raises:
    ValueError: there are both texts and a file.
  """
  if texts and path:
    raise ValueError("give texts or --input, not both")
  if texts:
    return iter([[text] for text in texts] if single else [texts])
  typed = path is None and sys.stdin.isatty()
  stream = stack.enter_context(open_input(path))
  name = str(path or "standard input")
  return line_chunks(stream, name, 1 if single or typed else None)


def open_input(path: Path | None) -> contextlib.AbstractContextManager[BinaryIO]:
  """The bytes of a file, or of standard input."""
  if path is None:
    return contextlib.nullcontext(sys.stdin.buffer)
  try:
    return path.open("rb")
  except OSError as error:
    raise OSError(f"{path}: cannot be read ({error.strerror})") from None


def line_chunks(
  stream: BinaryIO, name: str, size: int | None = None
) -> Iterator[list[str]]:
  """The lines of a stream, `size` or else `CHUNK_LINES` at a time.

  Raises:
    ValueError: a line is not UTF-8.
  """
  chunk: list[str] = []
  for number, line in enumerate(stream, start=1):
    try:
      text = line.decode("utf-8")
    except UnicodeDecodeError as error:
      raise ValueError(
        f"{name}: line {number:,}: invalid UTF-8 (byte {error.start + 1} of the line "
        f"is 0x{line[error.start]:02x}); convert the text to UTF-8"
      ) from None
    chunk.append(text.removesuffix("\n").removesuffix("\r"))
    if len(chunk) == (size or CHUNK_LINES):
      yield chunk
      chunk = []
  if chunk:
    yield chunk


def count_lines(path: Path | None) -> int | None:
  """The number of lines of a file; None where it cannot be read twice."""
  if path is None or not path.is_file():
    return None
  count, last = 0, b"\n"
  with open_input(path) as stream:
    while block := stream.read(1 << 20):
      count += block.count(b"\n")
      last = block[-1:]
  return count + (last != b"\n")


class Output:
  """Standard output, or a file that appears under its name when it is complete.

  Until then its lines are in `NAME.part`. Only whole lines are written, so that a
  killed job leaves no part of one. An error removes the file.
  """

  def __init__(self, path: Path | None):
    self._path = path

  def __enter__(self) -> "Output":
    self._file = sys.stdout
    if self._path is not None:
      self._scratch = self._path.with_name(f"{self._path.name}.part")
      try:
        self._file = self._scratch.open("w", encoding="utf-8", newline="\n")
      except OSError as error:
        raise OSError(f"{self._path}: cannot be written ({error.strerror})") from None
    return self

  def __exit__(self, kind, *_):
    if self._path is None:
      return
    self._file.close()
    if kind is None:
      os.replace(self._scratch, self._path)
    elif issubclass(kind, Exception):
      self._scratch.unlink()

  @property
  def is_terminal(self) -> bool:
    """Whether the lines go to a terminal."""
    return self._path is None and sys.stdout.isatty()

  def write_lines(self, texts: Iterable[str]) -> None:
    """Writes each text as a line; line feeds in it become spaces."""
    buffered: list[str] = []
    size = 0
    for text in texts:
      line = text.replace("\n", " ") + "\n"
      length = len(line.encode())
      if buffered and size + length > WRITE_BYTES:
        self.write_text("".join(buffered))
        buffered, size = [], 0
      buffered.append(line)
      size += length
    self.write_text("".join(buffered))

  def write_text(self, text: str) -> None:
    """Writes a text unchanged and at once."""
    self._file.write(text)
    self._file.flush()


def progress_bar(total: int | None, quiet: bool = False):
  """Sentences so far and per second, and the time left where the total is known."""

  import tqdm

  return tqdm.tqdm(
    total=total, unit=" sentences", disable=quiet or not sys.stderr.isatty()
  )


def as_json(record: Any) -> str:
  """A record as one line of JSON."""
  return json.dumps(record, ensure_ascii=False)


def print_record(record: dict[str, Any], as_object: bool) -> None:
  """Prints a record as one JSON object, or as a line per item."""
  if as_object:
    print(as_json(record))
    return
  for name, value in record.items():
    if isinstance(value, dict):
      value = json.dumps(value, indent=2, ensure_ascii=False)
    print(f"{name}: {value:.4f}" if isinstance(value, float) else f"{name}: {value}")
