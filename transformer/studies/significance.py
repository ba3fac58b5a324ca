"""Whether one system's score differs from another's by more than chance: over texts,
and over seeds."""

import math
import statistics
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from transformer.tasks.text_scores import DEFAULT, bleu_metric

RESAMPLES = 1000
SEED = 12345
"""Of the resamples, sacreBLEU's own."""


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


def p_of_texts(
  a: Sequence[Sequence[str]],
  b: Sequence[Sequence[str]],
  references: Sequence[str],
  tokenize: str = DEFAULT,
) -> float:
  """p of the difference in BLEU between two systems of several seeds on the same texts.

  A paired bootstrap (Koehn 2004) over texts: the outputs of all seeds for a text are
  drawn together, for they succeed and fail together. BLEU is that of the outputs of all
  seeds as one corpus. Of a single seed p is that of sacreBLEU's `PairedTest`: the share
  of differences that exceed their mean by more than was found.

  Args:
    a, b: an output for each text, of each seed.
    references: one for each text.
  """
  one, other = (_statistics(outputs, references, tokenize) for outputs in (a, b))
  if np.array_equal(one, other):
    return 1.0
  found = abs(_bleu(one.sum(0)) - _bleu(other.sum(0)))
  drawn_rn = np.random.default_rng(SEED).choice(len(one), (RESAMPLES, len(one)))
  differences_r = np.abs(
    [_bleu(one[n].sum(0)) - _bleu(other[n].sum(0)) for n in drawn_rn]
  )
  larger = int(np.sum(differences_r - differences_r.mean() > found))
  return (larger + 1) / (RESAMPLES + 1)


def _statistics(
  outputs: Sequence[Sequence[str]], references: Sequence[str], tokenize: str
) -> np.ndarray:
  """What BLEU is computed from, a row for each text, summed over seeds: the lengths of
  output and reference, and n-grams of four orders that match, and that there are."""
  metric = bleu_metric(tokenize)
  metric.effective_order = True  # else it advises that for every text
  return np.array(
    [
      np.sum([(s.sys_len, s.ref_len, *s.counts, *s.totals) for s in scores], axis=0)
      for scores in (
        [metric.sentence_score(seed[n], [reference]) for seed in outputs]
        for n, reference in enumerate(references)
      )
    ]
  )


def _bleu(statistics_s: np.ndarray) -> float:
  """BLEU of a corpus with these statistics."""
  from sacrebleu import BLEU

  sys_len, ref_len, *grams = (int(n) for n in statistics_s)
  return BLEU.compute_bleu(grams[:4], grams[4:], sys_len, ref_len).score


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
