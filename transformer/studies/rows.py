"""What a study changes and what it scores on: rows, matched sizes, held-out texts."""

import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from transformer import config as configs
from transformer.analysis import counts
from transformer.data.sources.base import Source, check_split
from transformer.experiment import Config
from transformer.studies.fields import check_fields


@dataclasses.dataclass(frozen=True)
class Match:
  """Which size of a row is matched to the base's: none."""

  def fit(self, config: Config, base: Config) -> tuple[Config, str]:
    """The row's experiment at the matched size, and the size that was chosen."""
    return config, ""


@dataclasses.dataclass(frozen=True)
class MatchParameters(Match):
  """Sets `field`, a whole number of the config, so that the number of parameters is
  nearest to the base's."""

  field: str = "model.d_ff"

  def __post_init__(self):
    check_fields(self)

  def cost(self, config: Config) -> float:
    """The size to match; it grows with `field`."""
    return counts.parameters(config)

  def fit(self, config: Config, base: Config) -> tuple[Config, str]:
    target = self.cost(base)

    def sized(size: int) -> Config:
      return configs.replace(config, self.field, size)

    low, high = 1, 2
    while True:
      smaller, larger = (self.cost(sized(size)) for size in (low, high))
      if larger <= smaller:
        raise ValueError(
          f"match: {self.field} does not change the size; choose another field"
        )
      if larger >= target:
        break
      low, high = high, 2 * high
    if smaller > target:
      raise ValueError(
        f"match: even at {self.field}=1 the row is larger than the first "
        f"({smaller:,.0f} and {target:,.0f}); make it smaller, or match another field"
      )
    while high - low > 1:
      middle = (low + high) // 2
      if self.cost(sized(middle)) < target:
        low = middle
      else:
        high = middle
    best = min((low, high), key=lambda size: abs(self.cost(sized(size)) - target))
    return sized(best), f"{self.field}={best}"


@dataclasses.dataclass(frozen=True)
class MatchFlops(MatchParameters):
  """Sets `field` so that the FLOPs a token are nearest to the base's."""

  def cost(self, config: Config) -> float:
    return counts.flops(config)


@dataclasses.dataclass(frozen=True)
class Row:
  """One experiment of a study.

  Attributes:
    name: what it changes, for the reader; also its directory's name.
    changes: what differs from the base: a dotted path and a value for each, such as
      `{"model.layers": 2}`.
    published: the paper's own figures, one for each of `Study.published`; None where it
      has none.
    match: which size is matched to the base's.
    line, x: where `LinesOverRows` and `DotPlotByLine` draw it.
  """

  name: str
  changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  published: tuple[float | None, ...] = ()
  match: Match = Match()
  line: str = ""
  x: float = 0.0

  def __post_init__(self):
    check_fields(self)

  def apply(self, base: Config) -> Config:
    """The row's experiment, before its size is matched.

    Raises:
      ValueError: a path is not that of a setting, or a value is not of its type.
    """
    config = base
    for path, value in self.changes.items():
      config = configs.replace(config, path, value)
    return config

  @property
  def shown(self) -> tuple[str, ...]:
    """The changes for the reader, each as on the command line: `model.layers=2`."""
    return shown(self.changes)

  def published_value(self, columns: Sequence[str], column: str) -> float | None:
    """The paper's figure for a column of `Study.published`, if it has one."""
    return dict(zip(columns, self.published, strict=False)).get(column)

  @property
  def directory(self) -> str:
    """The name as that of a directory."""
    return directory_name(self.name)


def grid(settings: Mapping[str, Sequence[Any]]) -> tuple[Row, ...]:
  """A row for each combination of values: of `{"schedule.rate": (1e-3, 2e-3),
  "model.layers": (2, 4)}` four, the last setting changing fastest."""
  combinations = itertools.product(*settings.values())
  changes = [dict(zip(settings, values, strict=True)) for values in combinations]
  return tuple(Row(", ".join(shown(each)), each) for each in changes)


def shown(changes: Mapping[str, Any]) -> tuple[str, ...]:
  """Changes as on the command line."""
  return tuple(f"{path}={configs.written(value)}" for path, value in changes.items())


def directory_name(name: str) -> str:
  """The name of a row as that of a directory."""
  return re.sub(r"[^\w.+-]+", "-", name)


def names_directory(name: str) -> bool:
  """Whether a directory can have a name."""
  return name not in ("", ".", "..") and len(name.encode()) <= 255


@dataclasses.dataclass(frozen=True)
class HeldOut:
  """Texts that every row is scored on after training.

  Attributes:
    name: the first part of a column's name, `val/loss`.
    split: of the source.
    data: the source, if it is not that of the row.
    x: where `LinesOverHeldOut` draws it.
  """

  name: str = "val"
  split: str = "val"
  data: Source | None = None
  x: float = 0.0

  def __post_init__(self):
    check_fields(self)
    check_split(self.split)
