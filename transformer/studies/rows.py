"""What a study changes and what it scores on: rows, matched sizes, held-out texts."""

import dataclasses
import re
from collections.abc import Sequence

from transformer import config as configs
from transformer.analysis import counts
from transformer.data.sources.base import Source
from transformer.experiment import Config


@dataclasses.dataclass(frozen=True)
class Match:
  """Sizes stay as the row has them."""

  def fit(self, config: Config, base: Config) -> tuple[Config, str]:
    """The row's experiment at the size that makes it fair, and what was chosen."""
    return config, ""


@dataclasses.dataclass(frozen=True)
class Parameters(Match):
  """`field`, a whole number of the config, is set so that the parameters are nearest to
  the base's."""

  field: str = "model.d_ff"

  def cost(self, config: Config) -> float:
    """What is made equal; it grows with `field`."""
    return counts.parameters(config)

  def fit(self, config: Config, base: Config) -> tuple[Config, str]:
    wanted = self.cost(base)

    def sized(size: int) -> Config:
      return configs.override(config, self.field, str(size))

    low, high = 1, 2
    while self.cost(sized(high)) < wanted:
      if self.cost(sized(high)) <= self.cost(sized(low)):
        raise ValueError(
          f"match: {self.field} does not change the cost; match by another"
        )
      low, high = high, 2 * high
    while high - low > 1:
      middle = (low + high) // 2
      if self.cost(sized(middle)) < wanted:
        low = middle
      else:
        high = middle
    best = min((low, high), key=lambda size: abs(self.cost(sized(size)) - wanted))
    return sized(best), f"{self.field}={best}"


@dataclasses.dataclass(frozen=True)
class Flops(Parameters):
  """`field` is set so that the FLOPs a token are nearest to the base's."""

  def cost(self, config: Config) -> float:
    return counts.flops(config)


@dataclasses.dataclass(frozen=True)
class Row:
  """One experiment of a study.

  Attributes:
    name: what it changes, for the reader; also its directory's name.
    settings: the changes, each as after `--config.` on the command line:
      `model.layers=2`.
    published: the paper's own figures, one for each of `Study.published`; None where it
      has none.
    match: what is made equal to the base.
    line, x: where `OverRows` draws it.
  """

  name: str
  settings: tuple[str, ...] = ()
  published: tuple[float | None, ...] = ()
  match: Match = Match()
  line: str = ""
  x: float = 0.0

  def printed(self, columns: Sequence[str], column: str) -> float | None:
    """The paper's figure for a column of `Study.published`, if it has one."""
    return dict(zip(columns, self.published, strict=False)).get(column)

  @property
  def directory(self) -> str:
    """The name as that of a directory."""
    return re.sub(r"[^\w.+-]+", "-", self.name)


@dataclasses.dataclass(frozen=True)
class HeldOut:
  """Texts that every row is scored on after training.

  Attributes:
    name: stands before the score in a column's name: `val/loss`.
    split: of the source.
    data: the source, if it is not that of the row.
    x: where `OverSets` draws it.
  """

  name: str = "val"
  split: str = "val"
  data: Source | None = None
  x: float = 0.0
