"""Aligned text files, one sentence a line."""

import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from transformer.data import text
from transformer.data.sources.base import Pair, Source, check_split

MAX_HELD_OUT = 2000
"""The most pairs that one held-out split takes from the training files."""


@dataclasses.dataclass(frozen=True)
class ParallelText(Source):
  """Two text files whose n-th lines belong together; UTF-8, gzipped or plain
  (`data.text`).

  A held-out split without files of its own is cut from the end of the training files,
  val before test: a twentieth of the pairs each, at least one and at most 2,000, which
  are then not trained on. Where there are too few pairs to cut any, it is the training
  pairs themselves.

  Attributes:
    source, target: files of the training pairs.
    val_source, val_target: files of held-out pairs, by which a run is evaluated while
      it trains.
    test_source, test_target: files of the pairs that `transformer evaluate` scores.
  """

  source: str
  target: str
  val_source: str = ""
  val_target: str = ""
  test_source: str = ""
  test_target: str = ""

  def __post_init__(self):
    for name in ("val", "test"):
      if bool(getattr(self, f"{name}_source")) != bool(getattr(self, f"{name}_target")):
        raise ValueError(
          f"data: {name}_source and {name}_target are given together or not at all"
        )

  def files(self, split: str) -> tuple[Path, Path] | None:
    """The two files of a split; None if it is cut from the training files."""
    if split == "train":
      return self._training_files
    source = getattr(self, f"{split}_source")
    return (Path(source), Path(getattr(self, f"{split}_target"))) if source else None

  @property
  def _training_files(self) -> tuple[Path, Path]:
    return Path(self.source), Path(self.target)

  def spans(self, count: int) -> dict[str, range]:
    """Which of `count` pairs of the training files each split has that has no files of
    its own."""
    cut = [split for split in ("val", "test") if self.files(split) is None]
    held_out = min(MAX_HELD_OUT, max(1, count // 20))
    if count <= len(cut) * held_out:
      return dict.fromkeys(("train", *cut), range(count))
    spans, stop = {}, count
    for split in reversed(cut):
      spans[split] = range(stop - held_out, stop)
      stop -= held_out
    return {"train": range(stop), **spans}

  def open(self, split: str) -> Sequence[Pair]:
    check_split(split)
    if split != "train" and (files := self.files(split)):
      return read_pairs(*files)
    pairs = read_pairs(*self._training_files)
    span = self.spans(len(pairs))[split]
    return pairs[span.start : span.stop]

  def fingerprint(self, split: str) -> str:
    check_split(split)
    facts = facts_of(*(self.files(split) or self._training_files))
    span = range(facts.pairs)
    if split == "train" or not self.files(split):
      span = self.spans(facts.pairs)[split]
    parts = f"{facts.sha256} {span.start}:{span.stop}"
    return hashlib.sha256(parts.encode()).hexdigest()

  def locate(self, split: str, i: int) -> str:
    span = range(i + 1)
    if self.files(split) is None:
      span = self.spans(facts_of(*self._training_files).pairs)[split]
    return f"in line {span[0] + i + 1:,}"

  def notes(self) -> list[str]:
    spans = self.spans(facts_of(*self._training_files).pairs)
    parts = []
    for split in ("train", "val", "test"):
      span = spans.get(split)
      if span is None:
        source, _ = self.files(split) or (None, None)
        parts.append(f"{split} is {source}")
      elif split != "train" and span == spans["train"]:
        parts.append(f"{split} is the training text itself, too short to be divided")
      else:
        parts.append(f"{split} is lines {span.start + 1:,} to {span.stop:,}")
    return [f"{self.source}: {', '.join(parts)}"]


class Lines(Sequence[str]):
  """The lines of UTF-8 text in memory as bytes, decoded when asked for.

  Only `\\n` (or `\\r\\n`) ends a line; other separators are text.
  """

  def __init__(self, data: bytes, name: str):
    self._data, self._name = data, name
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))
    if data and not data.endswith(b"\n"):
      ends = np.append(ends, len(data))
    self._ends = ends
    self._check()

  def _check(self) -> None:
    try:
      self._data.decode("utf-8")
    except UnicodeDecodeError as error:
      line = int(np.searchsorted(self._ends, error.start)) + 1
      raise ValueError(
        f"{self._name}: line {line:,}: invalid UTF-8 (byte {error.start:,} of the "
        f"text is 0x{self._data[error.start]:02x}); convert the file to UTF-8"
      ) from None

  @property
  def sha256(self) -> str:
    """SHA-256 of the text."""
    return hashlib.sha256(self._data).hexdigest()

  def __len__(self) -> int:
    return len(self._ends)

  def __getitem__(self, i):
    if isinstance(i, slice):
      return [self[j] for j in range(*i.indices(len(self)))]
    if not 0 <= i < len(self):
      raise IndexError(i)
    start = int(self._ends[i - 1]) + 1 if i else 0
    return self._data[start : int(self._ends[i])].decode("utf-8").removesuffix("\r")


class Pairs(Sequence[Pair]):
  """Two aligned sequences of lines, or a range of them; a blank line is an empty
  text."""

  def __init__(self, source: Lines, target: Lines, span: range):
    self._source, self._target, self._span = source, target, span

  @property
  def sha256(self) -> str:
    """The digests of both files' plain text."""
    return f"{self._source.sha256} {self._target.sha256}"

  def __len__(self) -> int:
    return len(self._span)

  def __getitem__(self, i):
    if isinstance(i, slice):
      return Pairs(self._source, self._target, self._span[i])
    j = self._span[i]
    return Pair(
      *(text.blank_to_empty(side[j]) for side in (self._source, self._target))
    )


def read_pairs(source: Path, target: Path) -> Pairs:
  """Two aligned files.

  Raises:
    FileNotFoundError, OSError: a file cannot be read.
    ValueError: they are not aligned, not UTF-8 or not gzip.
  """
  left, right = (Lines(read_bytes(path), str(path)) for path in (source, target))
  if len(left) != len(right):
    shorter = min(len(left), len(right))
    raise ValueError(
      f"{source}: {len(left):,} lines, {target}: {len(right):,}; the two sides of a "
      f"corpus must have the same number of lines{_suspect(left, right, shorter)}"
    )
  return Pairs(left, right, range(len(left)))


class Facts(NamedTuple):
  """What is kept of two aligned files once they have been read.

  Attributes:
    pairs: their number.
    sha256: the digests of both files' plain text.
  """

  pairs: int
  sha256: str


def facts_of(source: Path, target: Path) -> Facts:
  """The facts of two aligned files, which are read again only if they have changed;
  errors as in `read_pairs`."""
  return _read_facts(source, target, _stamp(source), _stamp(target))


@functools.lru_cache(maxsize=32)
def _read_facts(source: Path, target: Path, *stamps: tuple[int, ...]) -> Facts:
  pairs = read_pairs(source, target)
  return Facts(len(pairs), pairs.sha256)


def _stamp(path: Path) -> tuple[int, ...]:
  """Changes whenever the file does; empty if it cannot be read."""
  try:
    found = path.stat()
  except OSError:
    return ()
  return found.st_ino, found.st_size, found.st_mtime_ns


def _suspect(left: Lines, right: Lines, size: int) -> str:
  """Where one side first has an empty line and the other not: a likely slip."""
  for i in range(size):
    if text.is_blank(left[i]) != text.is_blank(right[i]):
      return f" (near line {i + 1:,} one side is empty and the other is not)"
  return ""


def read_bytes(path: Path) -> bytes:
  """The plain text of a file, as in `data.text.read_bytes`."""
  try:
    return text.read_bytes(path)
  except FileNotFoundError:
    raise FileNotFoundError(
      f"{path}: no such file; check the paths in the config's data"
    ) from None


def digest(path: Path) -> str:
  """SHA-256 of a file's plain text."""
  return hashlib.sha256(read_bytes(path)).hexdigest()
