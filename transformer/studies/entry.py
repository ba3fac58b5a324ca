"""A row of the table: what was trained, and what its seeds came to."""

import dataclasses
import functools
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from transformer.analysis.counts import Counts
from transformer.experiment import Config
from transformer.studies.result import Result
from transformer.studies.rows import Row

RESAMPLES = 1000


class Spread(NamedTuple):
  """A mean over seeds and their standard deviation (n - 1; 0 of a single one)."""

  mean: float
  deviation: float
  seeds: int

  def __str__(self) -> str:
    text = f"{self.mean:.4g}"
    return f"{text} ± {self.deviation:.2g}" if self.seeds > 1 else text


@dataclasses.dataclass
class Entry:
  """A row as far as it is done.

  Attributes:
    row, config: what it is.
    chosen: what matching chose, `model.d_ff=312`.
    counts: parameters and FLOPs, by its shapes.
    results: of its seeds, in their order, as far as they are done.
    failed: why it has no more, in a line; empty if nothing went wrong.
  """

  row: Row
  config: Config
  chosen: str
  counts: Counts
  results: list[Result] = dataclasses.field(default_factory=list)
  failed: str = ""

  def values(self, column: str) -> list[float]:
    """A score of every seed that has it."""
    return [r.scores[column] for r in self.results if column in r.scores]

  def spread(self, column: str) -> Spread | None:
    """A score over the seeds; None before the first is done."""
    return over_seeds(self.values(column))

  @property
  def speed(self) -> float | None:
    """Target tokens a second, the mean over seeds."""
    found = over_seeds([r.tokens_per_second for r in self.results])
    return found and found.mean

  def p(self, base: "Entry") -> float | None:
    """The probability of a difference in BLEU to the base as large as this by chance;
    None where there is nothing to compare.

    Paired bootstrap resampling (Koehn 2004) by sacreBLEU over the texts of all seeds
    that both have, each seed's outputs paired with those of the same seed.
    """
    both = list(zip(self.results, base.results, strict=False))
    if self is base or not both:
      return None
    if any(own.references != other.references for own, other in both):
      return None
    outputs, others, wanted = (
      tuple(text for pair in both for text in part(pair))
      for part in (
        lambda pair: pair[0].outputs,
        lambda pair: pair[1].outputs,
        lambda pair: pair[0].references,
      )
    )
    return bootstrap(others, outputs, wanted) if wanted else None


def over_seeds(values: Sequence[float]) -> Spread | None:
  """Mean and deviation; None of no values."""
  if not values:
    return None
  deviation = statistics.stdev(values) if len(values) > 1 else 0.0
  return Spread(statistics.fmean(values), deviation, len(values))


@functools.lru_cache(maxsize=1024)
def bootstrap(
  base: tuple[str, ...], outputs: tuple[str, ...], references: tuple[str, ...]
) -> float:
  """sacreBLEU's p of the difference in BLEU between two systems on the same texts."""
  # Where no resample differs, sacreBLEU counts none as large and gives the least p.
  if base == outputs:
    return 1.0
  import sacrebleu
  from sacrebleu.significance import PairedTest

  test = PairedTest(
    [("base", list(base)), ("row", list(outputs))],
    {"BLEU": sacrebleu.BLEU()},
    [list(references)],
    test_type="bs",
    n_samples=RESAMPLES,
  )
  pair: list[Any] = list(test()[1]["BLEU"])
  return float(pair[1].p_value)
