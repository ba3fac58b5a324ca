"""What languages, countries and moneys are called in 29 languages: embedded texts with
the language as label."""

import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epy

from transformer.config import Natural
from transformer.data.sources.base import LabelledSource, check_split, split_of

with epy.lazy_imports():
  import babel

LOCALES = (
  "bg", "ca", "cs", "da", "de", "el", "en", "es", "et", "fi", "fr", "hr", "hu", "id",
  "it", "lt", "lv", "nb", "nl", "pl", "pt", "ro", "ru", "sk", "sl", "sv", "tr", "uk",
  "vi",
)  # fmt: skip
"""CLDR locales, and the labels; none whose script alone would tell all and take
thousands of characters."""


@dataclasses.dataclass(frozen=True)
class DisplayNames(LabelledSource):
  """Lists of CLDR display names in one of 29 languages, the label (through Babel): what
  languages, territories, scripts and currencies are called there.

  A name that is the same in two of the languages is in none of the texts, so every text
  has one label. What is named belongs to a split, by a hash of its code, and its names
  in all languages with it. A name that two codes share, such as Catalan `coreà` for a
  language and a script, belongs to the first; its translations, and the same name in
  another case, may be in another split. Text `i` is made when it is asked for, from
  (seed, split, i) alone.

  Attributes:
    examples: how many training texts there are.
    held_out: how many each of val and test has.
    several: the most names in one text, divided by commas; each text has any number of
      them from one up.
    seed: chooses the texts, not the division.
  """

  examples: int = 50_000
  held_out: int = 1_000
  several: int = 8
  seed: Natural = 0

  def __post_init__(self):
    for name in ("examples", "held_out", "several"):
      if getattr(self, name) < 1:
        raise ValueError(f"DisplayNames.{name}: {getattr(self, name)} is less than 1")

  @property
  def classes(self) -> tuple[str, ...]:
    return LOCALES

  def open(self, split: str) -> Sequence[str]:
    return _Texts(self, split, self.size(split))

  def labels(self, split: str) -> Sequence[int]:
    return [self.draw(split, i)[1] for i in range(self.size(split))]

  def fingerprint(self, split: str) -> str:
    text = f"{self} {split} {LOCALES} babel {babel.__version__}"
    return hashlib.sha256(text.encode()).hexdigest()

  def size(self, split: str) -> int:
    """How many texts a split has."""
    check_split(split)
    return self.examples if split == "train" else self.held_out

  def draw(self, split: str, i: int) -> tuple[np.random.Generator, int]:
    """The source of randomness of a text, and its label, which is drawn first."""
    number = ("train", "val", "test").index(split)
    rng = np.random.default_rng([self.seed, number, i])
    return rng, int(rng.integers(len(LOCALES)))


class _Texts(Sequence[str]):
  def __init__(self, recipe: DisplayNames, split: str, size: int):
    self._recipe, self._split, self._size = recipe, split, size

  def __len__(self) -> int:
    return self._size

  def __getitem__(self, i):
    if isinstance(i, slice):
      return [self[j] for j in range(*i.indices(len(self)))]
    if not 0 <= i < self._size:
      raise IndexError(i)
    rng, label = self._recipe.draw(self._split, i)
    names = known()[LOCALES[label]][self._split]
    count = 1 + rng.integers(self._recipe.several)
    return ", ".join(names[n] for n in rng.integers(len(names), size=count))


@functools.cache
def known() -> dict[str, dict[str, list[str]]]:
  """The names of each locale by split, in the order of their codes."""
  found: dict[str, dict[str, str]] = {}
  owners: dict[str, set[str]] = {}
  for name in LOCALES:
    locale = babel.Locale.parse(name)
    kinds: dict[str, Any] = {
      "language": locale.languages,
      "territory": locale.territories,
      "script": locale.scripts,
      "currency": locale.currencies,
    }
    found[name] = {}
    for kind, table in kinds.items():
      for code in sorted(table):
        text = " ".join(table[code].split())
        found[name][f"{kind} {code}"] = text
        owners.setdefault(text.casefold(), set()).add(name)
  splits: dict[str, dict[str, list[str]]] = {}
  for name, names in found.items():
    parts: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    first: dict[str, str] = {}  # two codes may have one name
    for code, text in names.items():
      first.setdefault(text, code)
    for text, code in first.items():
      if len(owners[text.casefold()]) == 1:
        parts[split_of(code)].append(text)
    splits[name] = parts
  return splits
