"""Lines in and lines out, of files of any size."""

import argparse
import contextlib
import itertools
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from transformer.data.text import (
  BYTE_ORDER_MARK,
  GZIP_ERRORS,
  check_text,
  decode_lines,
  open_text,
  plain_bytes,
)
from transformer.runs.output import OutputFile

T = TypeVar("T")

CHUNK_LINES = 4096
"""Lines processed at a time, so that files of any size take bounded memory."""

WRITE_BYTES = 4096
"""Bytes written at once where lines are shorter; a pipe takes that many atomically."""


def add_texts(
  parser: argparse.ArgumentParser, text: str, metavar: str = "TEXT"
) -> None:
  """Texts on the command line; `text` is the help."""
  parser.add_argument("texts", metavar=metavar, nargs="*", help=text)


def add_input(parser: argparse.ArgumentParser) -> None:
  """A file of texts in place of those on the command line."""
  parser.add_argument(
    "--input", type=Path, metavar="FILE", help="read texts from a file, one per line"
  )


def add_output(parser: argparse.ArgumentParser, more: str = "") -> None:
  """A file for what is printed otherwise; `more` ends the help."""
  parser.add_argument(
    "--output", type=Path, metavar="FILE",
    help=f"write to a file, which appears when it is complete{more}",
  )  # fmt: skip


def input_chunks(
  stack: contextlib.ExitStack, texts: list[str], path: Path | None, single: bool = False
) -> Iterator[list[str]]:
  """The texts of the command line, or the lines of a file or of standard input, in
  chunks; with `single`, and for lines typed at a terminal, one at a time.

  Raises:
    ValueError: there are both texts and a file, or a text is not UTF-8.
  """
  size = 1 if single else chunk_size(texts, path)
  items = map(text_of, input_items(stack, texts, path))
  return chunks(map(check_argument, items) if texts else items, size)


def input_items(
  stack: contextlib.ExitStack, texts: list[str], path: Path | None = None
) -> Iterator[str | ValueError]:
  """The texts of the command line, unchecked, or the lines of `input_chunks` one by
  one; for one that is not UTF-8 an error that names it.

  Raises:
    ValueError: there are both texts and a file, or neither, and standard input is
      closed.
  """
  if texts and path:
    raise ValueError("give texts or --input, not both")
  if texts:
    return (text.removeprefix(BYTE_ORDER_MARK) for text in texts)
  if path is not None:
    return decode_lines(stack.enter_context(open_text(path)), str(path))
  if sys.stdin is None:
    raise ValueError("standard input is closed; give texts or a file")
  return decode_lines(cast(BinaryIO, sys.stdin.buffer), "standard input")


def chunk_size(texts: list[str], path: Path | None = None) -> int:
  """How many texts are processed at a time: lines typed at a terminal one by one."""
  typed = not texts and path is None and sys.stdin is not None and sys.stdin.isatty()
  return 1 if typed else CHUNK_LINES


def check_argument(text: str) -> str:
  """The text; raises ValueError if it is not UTF-8."""
  try:
    check_text(text)
  except ValueError as error:
    raise ValueError(f"{text!a}: {error}") from None
  return text


def text_of(item: str | ValueError) -> str:
  """The text; raises what is an error."""
  if isinstance(item, ValueError):
    raise item
  return item


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
  """The items in lists of `size`."""
  items = iter(items)
  while chunk := list(itertools.islice(items, size)):
    yield chunk


def line_chunks(stream: BinaryIO, name: str) -> Iterator[list[str]]:
  """The lines of a stream, `CHUNK_LINES` at a time.

  Raises:
    ValueError: a line is not UTF-8.
  """
  return chunks(map(text_of, decode_lines(stream, name)), CHUNK_LINES)


def count_lines(path: Path | None) -> int | None:
  """The number of lines of a file; None where it cannot be read twice."""
  if path is None or not path.is_file():
    return None
  count, last = 0, b"\n"
  with open_text(path) as stream:
    try:
      plain = plain_bytes(stream, str(path))
      while block := plain.read(1 << 20):
        count += block.count(b"\n")
        last = block[-1:]
    except GZIP_ERRORS:
      return None
  return count + (last != b"\n")


class Output:
  """Standard output, or a file as `OutputFile` writes it.

  Only whole lines are written, so that a killed job leaves no part of one.
  """

  def __init__(self, path: Path | None):
    """Raises OSError if the path can never be written."""
    self._path = path
    self._output = None if path is None else OutputFile(path)
    self._file: BinaryIO | None = None

  def __enter__(self) -> "Output":
    if self._output is not None:
      self._file = self._output.__enter__()
    return self

  def __exit__(self, *error):
    if self._output is not None:
      self._output.__exit__(*error)

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
      length = len(line.encode(errors="surrogateescape"))
      if buffered and size + length > WRITE_BYTES:
        self.write_text("".join(buffered))
        buffered, size = [], 0
      buffered.append(line)
      size += length
    self.write_text("".join(buffered))

  def write_text(self, text: str) -> None:
    """Writes a text unchanged and at once."""
    try:
      if self._file is None:
        sys.stdout.write(text)
        sys.stdout.flush()
      else:
        self._file.write(text.encode(errors="surrogateescape"))
        self._file.flush()
    except BrokenPipeError:
      raise
    except OSError as error:
      name = self._path or "standard output"
      raise OSError(f"{name}: cannot be written ({error.strerror})") from None


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
