"""A row of the table: what was trained, and the results of its seeds."""

import dataclasses
import functools
import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from transformer.analysis.counts import Counts
from transformer.experiment import Config
from transformer.studies.result import Result
from transformer.studies.rows import Row
from transformer.studies.significance import paired_bootstrap, welch
from transformer.studies.sweep import Trial
from transformer.tasks.text_scores import DEFAULT
from transformer.tasks.translation import Translation


class Summary(NamedTuple):
  """A mean over seeds and their standard deviation (n - 1; 0 of a single one)."""

  mean: float
  deviation: float
  seeds: int

  def __str__(self) -> str:
    text = f"{self.mean:.4g}"
    return f"{text} ± {self.deviation:.2g}" if self.seeds > 1 else text


@dataclasses.dataclass
class RowResults:
  """A row as far as it is done.

  Attributes:
    row, config: the row, and its experiment as the study's file has it.
    matched: the size that matching chose, `model.d_ff=312`; empty without any.
    counts: parameters and FLOPs, by its shapes.
    trained: the experiment that its seeds train: with the steps of the budget and at
      the best point of the sweep; None before both are known.
    trials: of the sweep, in their order, as far as they are done.
    chosen: the number of the best of them.
    results: of its seeds, in their order, as far as they are done.
    failed: why there are no more, in a line; empty if nothing went wrong.
  """

  row: Row
  config: Config
  matched: str
  counts: Counts
  trained: Config | None = None
  trials: list[Trial] = dataclasses.field(default_factory=list)
  chosen: int | None = None
  results: list[Result] = dataclasses.field(default_factory=list)
  failed: str = ""

  def values(self, column: str) -> list[float]:
    """A score of every seed that has it."""
    return [r.scores[column] for r in self.results if column in r.scores]

  def summary(self, column: str) -> Summary | None:
    """A score over the seeds; None before the first is done."""
    return summarise(self.values(column))

  @property
  def tokens_per_second(self) -> float | None:
    """Target tokens a second, the mean over seeds."""
    summary = summarise([r.tokens_per_second for r in self.results])
    return summary and summary.mean

  def spent(self, name: str) -> float | None:
    """What training a seed took, a name of `Spent`, the mean over seeds."""
    summary = summarise(
      [v for r in self.results if (v := getattr(r, name)) is not None]
    )
    return summary and summary.mean

  def p_of_seeds(self, base: "RowResults", column: str) -> float | None:
    """p of the difference in a score to the base, over seeds (`significance.welch`)."""
    return None if self is base else welch(base.values(column), self.values(column))

  def p(self, base: "RowResults") -> float | None:
    """The probability of a difference in BLEU to the base as large as this by chance;
    None where there is nothing to compare.

    A paired bootstrap over the texts of all seeds that both have, each seed's outputs
    paired with those of the same seed.
    """
    pairs = list(zip(base.results, self.results, strict=False))
    if self is base or any(a.references != b.references for a, b in pairs):
      return None
    outputs_a = tuple(text for a, _ in pairs for text in a.outputs)
    outputs_b = tuple(text for _, b in pairs for text in b.outputs)
    references = tuple(text for _, b in pairs for text in b.references)
    task = base.config.task
    tokenize = task.tokenize if isinstance(task, Translation) else DEFAULT
    return p_value(outputs_a, outputs_b, references, tokenize) if references else None


def summarise(values: Sequence[float]) -> Summary | None:
  """Mean and deviation, which is not a number where a value is not finite; None of no
  values."""
  if not values:
    return None
  if not all(map(math.isfinite, values)):
    return Summary(sum(values) / len(values), math.nan, len(values))
  deviation = statistics.stdev(values) if len(values) > 1 else 0.0
  return Summary(statistics.fmean(values), deviation, len(values))


@functools.lru_cache(maxsize=1024)
def p_value(
  a: tuple[str, ...],
  b: tuple[str, ...],
  references: tuple[str, ...],
  tokenize: str = DEFAULT,
) -> float:
  """That of the difference in BLEU between two systems on the same texts."""
  return paired_bootstrap(a, b, references, tokenize=tokenize)["BLEU"].p
