"""What every source of texts offers."""

import abc
import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple


class Pair(NamedTuple):
  """A text and what it should become."""

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


@dataclasses.dataclass(frozen=True)
class TextSource(Source):
  """A recipe for texts alone, each a document of any length."""

  @abc.abstractmethod
  def open(self, split: str) -> Sequence[str]:
    """The texts of a split, with random access; errors as in `Source.open`."""


@dataclasses.dataclass(frozen=True)
class LabelledSource(TextSource):
  """A recipe for texts that each belong to one of a few classes; read as texts alone
  where nobody asks for the labels."""

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
    raise ValueError(f"split: {split!r} is none of {', '.join(known)}")
