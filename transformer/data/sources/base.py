"""The interface of data sources."""

import abc
import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple


class Pair(NamedTuple):
  """A text and its target."""

  source: str
  target: str


@dataclasses.dataclass(frozen=True)
class Source(abc.ABC):
  """A recipe for examples in the splits `train`, `val` and `test`: pairs of texts,
  unless it is a `TextSource`."""

  @abc.abstractmethod
  def open(self, split: str) -> Sequence[Any]:
    """The examples of a split, with random access.

    Raises:
      ValueError: there is no such split, or its text is not usable.
      OSError: a file cannot be read.
    """

  @abc.abstractmethod
  def fingerprint(self, split: str) -> str:
    """SHA-256 that changes whenever the text of a split changes."""

  def notes(self) -> list[str]:
    """Lines for the reader on what became of the data."""
    return []

  def locate(self, split: str, i: int) -> str:
    """Where example `i` of a split is, for the reader: `in line 812`."""
    return f"number {i + 1:,}"


@dataclasses.dataclass(frozen=True)
class TextSource(Source):
  """A recipe for texts alone, each a document of any length."""

  @abc.abstractmethod
  def open(self, split: str) -> Sequence[str]:
    """The texts of a split, with random access; errors as in `Source.open`."""


@dataclasses.dataclass(frozen=True)
class LabelledSource(TextSource):
  """A recipe for texts that each belong to one of a few classes; other tasks read
  the texts alone."""

  @property
  @abc.abstractmethod
  def classes(self) -> tuple[str, ...]:
    """The names of the classes, in the order of their numbers."""

  @abc.abstractmethod
  def labels(self, split: str) -> Sequence[int]:
    """The class of every text of a split, in the order of `open`."""


def check_split(split: str, known=("train", "val", "test")) -> None:
  """Raises ValueError unless `split` is one of `known`."""
  if split not in known:
    raise ValueError(f"split: expected one of {', '.join(known)}, got {split!r}")


def split_of(key: str) -> str:
  """The split that an example with this key belongs to, by a hash: a tenth each is val
  and test, the rest train."""
  bucket = hashlib.sha256(f"which split? {key}".encode()).digest()[0]
  return "val" if bucket < 26 else "test" if bucket < 52 else "train"
