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
from transformer.studies.significance import p_of_texts, welch
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

    A paired bootstrap over texts (`significance.p_of_texts`), with the outputs of all
    seeds that both have.
    """
    pairs = list(zip(base.results, self.results, strict=False))
    texts = {tuple(result.references) for pair in pairs for result in pair}
    if self is base or len(texts) != 1 or not (references := texts.pop()):
      return None
    outputs_a, outputs_b = (
      tuple(tuple(result.outputs) for result in seeds)
      for seeds in zip(*pairs, strict=True)
    )
    task = base.config.task
    tokenize = task.tokenize if isinstance(task, Translation) else DEFAULT
    return p_value(outputs_a, outputs_b, references, tokenize)


def summarise(values: Sequence[float]) -> Summary | None:
  """Mean and deviation, which is not a number where a value is not finite; None of no
  values."""
  if not values:
    return None
  if not all(map(math.isfinite, values)):
    return Summary(sum(values) / len(values), math.nan, len(values))
  deviation = statistics.stdev(values) if len(values) > 1 else 0.0
  return Summary(statistics.fmean(values), deviation, len(values))


p_value = functools.lru_cache(maxsize=1024)(p_of_texts)
"""Of the same outputs it is asked for again whenever the table is written."""
