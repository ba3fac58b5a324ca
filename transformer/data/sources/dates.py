"""Dates as people write them, to ISO 8601: the embedded task that needs no download."""

import dataclasses
import datetime
import functools
import hashlib
from collections.abc import Sequence
from typing import overload

import numpy as np
from etils import epy

from transformer.config import Natural
from transformer.data.sources.base import Pair, Source, check_split, split_of

with epy.lazy_imports():
  import babel
  import babel.dates

FORMS = ("long", "medium", "full")

LOCALES = (
  "en_US", "en_GB", "de", "fr", "es", "it", "pt", "nl", "cs", "pl", "ru", "uk", "el",
  "tr", "sv", "da", "nb", "fi", "hu", "ro", "bg", "hr", "sk", "sl", "ca", "et", "lv",
  "lt", "id", "vi", "ja", "zh", "ko",
)  # fmt: skip
"""CLDR locales whose forms do not contradict: no text stands for two dates."""


@dataclasses.dataclass(frozen=True)
class Dates(Source):
  """Dates in the long, medium and full CLDR forms of 33 locales (through Babel).

  Example `i` is made when it is asked for, from (seed, split, i) alone. The calendar
  from `first` to `last` is divided by a hash of the date, so no date of one split is
  in another.

  Attributes:
    examples: how many training pairs there are.
    held_out: how many pairs each of val and test has.
    first, last: first and last date, ISO 8601.
    seed: chooses the examples, not the division of the calendar.
    several: the most dates in one text, divided by ` ; `; each text has any number of
      them from one up, for a study of long inputs.
  """

  examples: Natural = 100_000
  held_out: Natural = 2_000
  first: str = "1900-01-01"
  last: str = "2099-12-31"
  seed: Natural = 0
  several: int = 1

  def __post_init__(self):
    if self.several < 1:
      raise ValueError(f"Dates.several: {self.several} is less than 1")
    for name in ("first", "last"):
      try:
        datetime.date.fromisoformat(getattr(self, name))
      except ValueError:
        raise ValueError(
          f"Dates.{name}: {getattr(self, name)!r} is no date; write 1999-12-31"
        ) from None
    if self.first >= self.last:
      raise ValueError(f"Dates: first {self.first} is not before last {self.last}")

  def open(self, split: str) -> Sequence[Pair]:
    check_split(split)
    size = self.examples if split == "train" else self.held_out
    return _Written(self, split, size)

  def count(self, rng) -> int:
    """How many dates are in a text."""
    return 1 + rng.integers(self.several) if self.several > 1 else 1

  def fingerprint(self, split: str) -> str:
    text = f"{self} {split} {LOCALES} {FORMS} babel {babel.__version__}"
    return hashlib.sha256(text.encode()).hexdigest()


@dataclasses.dataclass(frozen=True)
class ManyDates(Dates):
  """Dates, `fewest` to `several` in every text.

  Attributes:
    fewest: the fewest dates in a text.
  """

  several: int = 2
  fewest: int = 2

  def __post_init__(self):
    super().__post_init__()
    if not 1 <= self.fewest <= self.several:
      raise ValueError(
        f"ManyDates.fewest: {self.fewest} is not between 1 and several, {self.several}"
      )

  def count(self, rng) -> int:
    return self.fewest + rng.integers(self.several - self.fewest + 1)


class _Written(Sequence[Pair]):
  def __init__(self, recipe: Dates, split: str, size: int):
    self._recipe, self._split, self._size = recipe, split, size
    self._days = _days(recipe.first, recipe.last)[split]
    if not self._days:
      raise ValueError(
        f"Dates: no date between {recipe.first} and {recipe.last} falls into "
        f"{split!r}; widen the span"
      )

  def __len__(self) -> int:
    return self._size

  @overload
  def __getitem__(self, i: int) -> Pair: ...
  @overload
  def __getitem__(self, i: slice) -> Sequence[Pair]: ...
  def __getitem__(self, i):
    if isinstance(i, slice):
      return [self[j] for j in range(*i.indices(len(self)))]
    if not 0 <= i < self._size:
      raise IndexError(i)
    name = ("train", "val", "test").index(self._split)
    rng = np.random.default_rng([self._recipe.seed, name, i])
    pairs = [self._date(rng) for _ in range(self._recipe.count(rng))]
    return Pair(" ; ".join(p.source for p in pairs), " ".join(p.target for p in pairs))

  def _date(self, rng) -> Pair:
    day = self._days[rng.integers(len(self._days))]
    locale, form = LOCALES[rng.integers(len(LOCALES))], FORMS[rng.integers(3)]
    return Pair(write(day, locale, form), day.isoformat())


@functools.lru_cache(maxsize=8)
def _days(first: str, last: str) -> dict[str, list[datetime.date]]:
  start, end = datetime.date.fromisoformat(first), datetime.date.fromisoformat(last)
  days: dict[str, list[datetime.date]] = {"train": [], "val": [], "test": []}
  for offset in range((end - start).days + 1):
    day = start + datetime.timedelta(offset)
    days[split_of(day.isoformat())].append(day)
  return days


def write(day: datetime.date, locale: str, form: str) -> str:
  """A date in a CLDR form; every kind of space becomes a plain one."""
  return " ".join(babel.dates.format_date(day, form, locale=locale).split())
