"""Parts of a file for the jobs of an array, each finished by the command that began
it."""

import contextlib
import dataclasses
import glob
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

NOTE = "part.json"
"""The end of the name of the file that says which command made a part."""


@dataclasses.dataclass(frozen=True)
class Shard:
  """One of several parts of a file: lines that follow each other, so that the outputs
  of all parts one after another are that of the whole."""

  number: int
  count: int

  @classmethod
  def parse(cls, text: str) -> "Shard":
    """Reads `2/5`.

    Raises:
      ValueError: it is something else.
    """
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    shard = cls(int(found[1]), int(found[2])) if found else cls(0, 0)
    if not 1 <= shard.number <= shard.count:
      raise ValueError(f"--shard: expected I/N with I from 1 to N, as 2/5, got {text}")
    return shard

  def lines(self, total: int) -> range:
    """The numbers of the part's lines, from 0, of a file of `total`."""
    start, stop = (total * i // self.count for i in (self.number - 1, self.number))
    return range(start, stop)

  def path(self, output: Path) -> Path:
    """The file of the part: `out.2-of-5`, in which order `out.*-of-5` names them."""
    number = str(self.number).zfill(len(str(self.count)))
    return output.with_name(f"{output.name}.{number}-of-{self.count}")


class ShardOutput:
  """The file of a part; a context manager.

  Until it is complete its lines are in `NAME.part`. `NAME.part.json` says what command
  made it, and stays, so that a part of another command is never kept or joined. After
  an interruption of any kind, the same command resumes after the last whole line.

  Attributes:
    done: lines that an earlier call has written.
  """

  def __init__(self, shard: Shard, output: Path, command: dict[str, Any], lines: int):
    """A part of `output`, of so many lines, made by a command.

    Raises:
      ValueError: `output` is a device or a directory, or what is there of this part, or
        of another part of as many, comes from another command.
      FileNotFoundError: the folder is missing.
    """
    self.path = shard.path(output)
    self._scratch, self._note = _beside(self.path, "part"), _beside(self.path, NOTE)
    self._command, self._lines = json.dumps(command, sort_keys=True), lines
    if output.exists() and not output.is_file():
      raise ValueError(
        f"--shard: {output} is not a regular file; name one with --output"
      )
    if not self.path.parent.is_dir():
      raise FileNotFoundError(
        f"{self.path}: cannot be written (no folder {self.path.parent})"
      )
    # All parts are joined in the end, so all must be of one command.
    pattern = f"{glob.escape(output.name)}.[0-9]*-of-{shard.count}"
    for end in ("", ".part"):
      for part in sorted(output.parent.glob(pattern + end)):
        self._check(part)
    self.done = 0

  def _check(self, part: Path) -> None:
    """Raises ValueError if another command made a part, whole or not."""
    note = _beside(part.with_name(part.name.removesuffix(".part")), NOTE)
    reason = "of another command (run, checkpoint, input or flags)"
    try:
      if note.read_text(encoding="utf-8") == self._command:
        return
    except FileNotFoundError:
      reason = f"of an unknown command (there is no {note.name})"
    raise ValueError(
      f"{part}: {reason}; delete it to begin again, or give another --output"
    )

  @property
  def is_complete(self) -> bool:
    """Whether the part is there already."""
    return self.path.exists()

  def __enter__(self) -> "ShardOutput":
    """Raises ValueError if another process writes the part."""
    from transformer.runs.directory import write_atomic
    from transformer.runs.output import lock

    if not self._scratch.exists():
      # Whole or not at all: jobs of other parts read it.
      write_atomic(self._note, self._command.encode())
    self._file: BinaryIO = self._scratch.open("a+b")
    try:
      lock(self._file, self._scratch)
      # Another process may just have finished.
      held = self.is_complete
    except BlockingIOError:
      held = True
    if held:
      self._file.close()
      raise ValueError(
        f"{self._scratch}: another process writes this part; wait for it, or stop it"
      )
    self._file.seek(0)
    whole = 0
    for line in self._file:
      if not line.endswith(b"\n"):
        break
      whole, self.done = whole + len(line), self.done + 1
    # The process may have been killed within a line.
    self._file.truncate(whole)
    self._file.seek(whole)
    return self

  def __exit__(self, kind, *_) -> None:
    with self._named_errors(), self._file:
      if kind is None:
        self._check_count()
        os.replace(self._scratch, self.path)

  def _check_count(self) -> None:
    """Raises ValueError unless the file has as many lines as the part."""
    self._file.seek(0)
    count = sum(1 for _ in self._file)
    if count != self._lines:
      raise ValueError(
        f"{self._scratch}: expected {self._lines:,} lines, got {count:,}; delete it to "
        "begin again"
      )

  @contextlib.contextmanager
  def _named_errors(self) -> Iterator[None]:
    """A context whose errors of the system name the file."""
    try:
      yield
    except OSError as error:
      raise OSError(f"{self._scratch}: cannot be written ({error.strerror})") from None

  def write_lines(self, texts: list[str]) -> None:
    """Writes each text as a line; line feeds in it become spaces."""
    lines = [text.replace("\n", " ") + "\n" for text in texts]
    with self._named_errors():
      self._file.write("".join(lines).encode(errors="surrogateescape"))
      self._file.flush()


def _beside(path: Path, end: str) -> Path:
  return path.with_name(f"{path.name}.{end}")
