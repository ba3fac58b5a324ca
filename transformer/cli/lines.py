"""Lines in, lines out, of files of any size."""

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

CHUNK = 4096
"""Lines translated at a time, so that files of any size take bounded memory."""

ATOM = 4096
"""Bytes written at a time where lines are shorter; a pipe takes so many as one."""


def source_stream(path: Path | None) -> contextlib.AbstractContextManager[BinaryIO]:
  """The bytes to translate."""
  if path is None:
    return contextlib.nullcontext(sys.stdin.buffer)
  try:
    return path.open("rb")
  except OSError as error:
    raise OSError(f"{path}: cannot be read ({error.strerror})") from None


def line_chunks(stream: BinaryIO, name: str, size: int = CHUNK) -> Iterator[list[str]]:
  """The lines of a stream, `size` at a time.

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
    if len(chunk) == size:
      yield chunk
      chunk = []
  if chunk:
    yield chunk


def count_lines(path: Path | None) -> int | None:
  """How many lines a file has; None where it cannot be read twice."""
  if path is None or not path.is_file():
    return None
  count, last = 0, b"\n"
  with source_stream(path) as stream:
    while block := stream.read(1 << 20):
      count += block.count(b"\n")
      last = block[-1:]
  return count + (last != b"\n")


class Output:
  """Standard output, or a file that appears under its name once it is whole.

  Until then its lines are in `NAME.part`. They are written as whole lines, so that a
  job that is killed leaves no part of one. An error removes the file.
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

  def write(self, texts: Iterable[str]) -> None:
    """Writes each text as a line; line feeds in it become spaces."""
    waiting: list[str] = []
    size = 0
    for text in texts:
      line = text.replace("\n", " ") + "\n"
      length = len(line.encode())
      if waiting and size + length > ATOM:
        self.put("".join(waiting))
        waiting, size = [], 0
      waiting.append(line)
      size += length
    self.put("".join(waiting))

  def put(self, text: str) -> None:
    """Writes a text as it is, at once."""
    self._file.write(text)
    self._file.flush()


def progress_bar(quiet: bool, total: int | None = None):
  """Sentences so far and a second, and the time left where the total is known."""
  import tqdm

  return tqdm.tqdm(
    total=total, unit=" sentences", disable=quiet or not sys.stderr.isatty()
  )


def as_json(record: Any) -> str:
  """A record as one line of JSON."""
  return json.dumps(record, ensure_ascii=False)


def show(record: dict[str, Any], json_wanted: bool) -> None:
  """Prints a record, for people or for programs."""
  if json_wanted:
    print(as_json(record))
    return
  for name, value in record.items():
    if isinstance(value, dict):
      value = json.dumps(value, indent=2, ensure_ascii=False)
    print(f"{name}: {value:.4f}" if isinstance(value, float) else f"{name}: {value}")
