"""Whether one system's score differs from another's by more than chance: over texts,
and over seeds."""

import math
import statistics
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

from scipy import stats

from transformer.tasks.text_scores import DEFAULT, bleu_metric

RESAMPLES = 1000


class Estimate(NamedTuple):
  """A score, and the mean and half the 95% interval of its resamples."""

  score: float
  mean: float
  interval: float


class Comparison(NamedTuple):
  """Two systems by one metric: p is the probability of so large a difference by
  chance."""

  a: Estimate
  b: Estimate
  p: float
  signature: str


def welch(a: Sequence[float], b: Sequence[float]) -> float | None:
  """p of the difference between the means of two groups of seeds, two-sided, by Welch's
  t-test (Welch 1947), which lets their variances differ.

  None where it is not defined: with fewer than two seeds in a group, where a value is
  not finite, or where neither group varies.
  """
  if min(len(a), len(b)) < 2 or not all(map(math.isfinite, (*a, *b))):
    return None
  if not (statistics.stdev(a) or statistics.stdev(b)):
    return None
  with warnings.catch_warnings():
    # SciPy warns of a group that does not vary, which is no fault here.
    warnings.simplefilter("ignore", RuntimeWarning)
    return float(stats.ttest_ind(a, b, equal_var=False).pvalue)


def paired_bootstrap(
  a: Sequence[str],
  b: Sequence[str],
  references: Sequence[str],
  resamples: int = RESAMPLES,
  tokenize: str = DEFAULT,
) -> dict[str, Comparison]:
  """BLEU and chrF of two systems on the same texts, by paired bootstrap resampling
  (Koehn 2004) by sacreBLEU."""
  import sacrebleu
  from sacrebleu.significance import PairedTest

  test = PairedTest(
    [("a", list(a)), ("b", list(b))],
    {"BLEU": bleu_metric(tokenize), "chrF": sacrebleu.CHRF()},
    [list(references)],
    test_type="bs",
    n_samples=resamples,
  )
  signatures, results = test()
  comparisons = {}
  for metric, signature in signatures.items():
    pair: list[Any] = list(results[metric])
    first, second = (Estimate(r.score, float(r.mean), float(r.ci)) for r in pair)
    # sacreBLEU would call two equal systems all but certainly different.
    p = 1.0 if list(a) == list(b) else float(pair[1].p_value)
    comparisons[metric] = Comparison(first, second, p, str(signature))
  return comparisons
