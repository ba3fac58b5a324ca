"""What beam search searches for, found by looking at every output there is."""

import itertools

import numpy as np


def outputs(vocabulary, eos, longest, prefix=(), suppressed=(), unfinished=False):
  """Every output as a tuple of ids: ends in `eos`, at most `longest` ids with it.

  Outputs begin with `prefix`, which counts towards the length, and have none of the ids
  `suppressed` after it. With `unfinished`, also the outputs of exactly `longest` ids
  that were cut before their `eos`.
  """
  words = [token for token in range(vocabulary) if token not in (eos, *suppressed)]
  for length in range(len(prefix), longest):
    for middle in itertools.product(words, repeat=length - len(prefix)):
      yield (*prefix, *middle, eos)
  if unfinished:
    for middle in itertools.product(words, repeat=longest - len(prefix)):
      yield (*prefix, *middle)


def ranking(score, candidates):
  """`[(score, output), ...]`, best first; equal scores in the order of their ids."""
  scored = [(score(output), output) for output in candidates]
  return sorted(scored, key=lambda pair: (-pair[0], pair[1]))


def best(score, vocabulary, eos, longest, **options):
  """The output of the highest score, and that score; options as in `outputs`."""
  candidates = outputs(vocabulary, eos, longest, **options)
  score_of_best, output = ranking(score, candidates)[0]
  return output, score_of_best


def log_probability(output, next_token):
  """log p(y) = sum_t log p(y_t | y_<t); `next_token(y_<t)` gives log p of each id."""
  return float(sum(next_token(output[:t])[token] for t, token in enumerate(output)))


def gnmt_penalty(length, alpha):
  """lp(Y) = (5 + |Y|)^alpha / (5 + 1)^alpha (Wu et al. 2016, equation 14)."""
  return (5 + length) ** alpha / (5 + 1) ** alpha


def coverage_penalty(attention_ts, beta):
  """cp = beta sum_s log(min(sum_t a_ts, 1)) (Wu et al. 2016, equation 14)."""
  return float(beta * np.sum(np.log(np.minimum(attention_ts.sum(axis=0), 1.0))))
