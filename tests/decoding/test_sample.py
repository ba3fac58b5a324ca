"""Greedy and random generation: what is drawn, how often, and for whom."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from tests.decoding.toys import Toy, ids, rows
from transformer.batch import BOS, EOS, PAD
from transformer.config import members
from transformer.decoding.constraint import Constraint
from transformer.decoding.sample import generate
from transformer.decoding.samplers import MinP, Sampler, Temperature, TopK, TopP

SAMPLERS = [kind() for kind in members(Sampler).values()]
SENTENCES = np.array([3, 41, 8])

PROBABILITIES = np.array([0.04, 0.3, 0.02, 0.0, 0.25, 0.11, 0.2, 0.08])


class Either(NamedTuple):
  """One of `SAMPLERS` by its number, so that one compilation serves them all. (No
  member of the family: no other test meets it.)"""

  number: int

  def __call__(self, key_b, logits_bv):
    return jax.lax.switch(self.number, SAMPLERS, key_b, logits_bv)


@functools.partial(
  jax.jit, static_argnames=("toy", "capacity", "samples", "suppressed")
)
def _run(toy, sentence_b, sampler, limits, capacity, seed_b, samples, suppressed):
  return generate(
    toy.step, toy.start(sentence_b, capacity), sampler,
    Constraint(*limits)._replace(suppressed=suppressed), capacity,
    key=jax.random.key(12), seed_b=seed_b, samples=samples,
  )  # fmt: skip


def run(
  toy, sentence_b, sampler, limits, capacity, seed_b=None, samples=1, suppressed=()
):
  """`generate` compiled."""
  number = Either(SAMPLERS.index(sampler))
  return _run(toy, sentence_b, number, limits, capacity, seed_b, samples, suppressed)


def draws(sampler, n=6000):
  """How often each token is drawn from `PROBABILITIES`."""
  keys = jax.random.split(jax.random.key(5), n)
  # Not normalised: a sampler is given logits.
  logits_v = jnp.asarray(np.log(np.maximum(PROBABILITIES, 1e-45)) + 3, jnp.float32)
  logits_v = jnp.where(PROBABILITIES > 0, logits_v, -jnp.inf)
  token_b = jax.jit(sampler)(keys, jnp.broadcast_to(logits_v, (n, len(logits_v))))
  return np.bincount(np.asarray(token_b), minlength=len(logits_v))


def cut(kept, temperature=1.0):
  p = np.where(np.isin(np.arange(8), kept), PROBABILITIES, 0) ** (1 / temperature)
  return p / p.sum()


@pytest.mark.parametrize(
  ("sampler", "expected_v"),
  [
    (Sampler(), cut([1])),
    (Temperature(), cut(range(8))),
    (Temperature(0.5), cut(range(8), 0.5)),
    (Temperature(2.5), cut(range(8), 2.5)),
    (TopK(3), cut([1, 4, 6])),
    (TopK(2, 3.0), cut([1, 4], 3.0)),
    (TopK(1), cut([1])),
    (TopK(99), cut(range(8))),
    (TopP(0.9), cut([1, 4, 6, 5, 7])),
    (TopP(0.8), cut([1, 4, 6, 5])),
    (TopP(0.01), cut([1])),
    (TopP(1.0), cut(range(8))),
    (TopP(0.8, 0.5), cut([1, 4, 6], 0.5)),
    (MinP(0.3), cut([1, 4, 5, 6])),
    (MinP(0.3, 2.0), cut([1, 4, 5, 6, 7, 0], 2.0)),
    (MinP(0.0), cut(range(8))),
    (MinP(1.0), cut([1])),
  ],
  ids=repr,
)
def test_distribution(sampler, expected_v):
  count_v = draws(sampler)
  assert (count_v[expected_v == 0] == 0).all()
  assert (count_v[expected_v > 0] > 0).all()
  if (expected_v > 0).sum() > 1:
    real_v = expected_v > 0
    test = stats.chisquare(count_v[real_v], expected_v[real_v] * count_v.sum())
    assert test.pvalue > 1e-3


def test_nucleus_is_the_smallest_that_is_enough():
  """Up to rounding of the sum; with ties and forbidden tokens."""
  logits_bv = np.random.default_rng(3).normal(size=(6, 3001)).astype(np.float32) * 4
  logits_bv[2] = np.round(logits_bv[2])
  logits_bv[4, 7:] = -np.inf
  logits_bv[5] = 0.0
  probability_bv = np.asarray(jax.nn.softmax(logits_bv, axis=-1), np.float64)
  for p in (0.05, 0.5, 0.9, 0.999):
    kept_bv = np.asarray(TopP(p).cut(jnp.asarray(logits_bv))) > -np.inf
    for kept_v, probability_v in zip(kept_bv, probability_bv, strict=True):
      least = probability_v[kept_v].min()
      np.testing.assert_array_equal(kept_v, probability_v >= least)
      assert probability_v[kept_v].sum() > p - 1e-6
      assert probability_v[probability_v > least].sum() < p + 1e-6


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
def test_forbidden_tokens_are_never_drawn(sampler):
  assert draws(sampler, 500)[3] == 0
  toy = Toy(vocabulary=9, scale=0.3)
  longest_b, minimum_b = [6, 4, 9], [2, 4, 3]
  prefix_bt = [[8, 5], [7, PAD], [PAD, PAD]]
  limits = [jnp.asarray(x) for x in (longest_b, minimum_b, prefix_bt)]
  output = run(toy, SENTENCES, sampler, limits, 10, samples=40, suppressed=(3, 6))
  for row, token_wt in enumerate(output.token_bwt):
    for token_t in token_wt:
      found = ids(token_t)
      prefix = tuple(token for token in prefix_bt[row] if token != PAD)
      assert found[: len(prefix)] == prefix
      assert not {PAD, BOS, 3, 6} & set(found)
      assert minimum_b[row] < len(found) <= longest_b[row] + 1


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
def test_an_output_does_not_depend_on_its_batch(sampler):
  """Alone, among others, beside rows of padding, with more room: every bit."""
  toy = Toy(vocabulary=9, seed=4, scale=0.7)
  sentence_b, seed_b = np.array([5, 77, 0, 31, 5]), np.array([70, 2, 0, 2, 71])
  limit_b = np.array([6, 11, 0, 3, 8])
  together = list(rows(run(toy, sentence_b, sampler, (limit_b,), 12, seed_b, 3)))
  reverse = run(toy, sentence_b[::-1], sampler, (limit_b[::-1],), 17, seed_b[::-1], 3)
  reverse = list(rows(reverse))[::-1]
  for i in range(len(sentence_b)):
    one = slice(i, i + 1)
    alone = run(toy, sentence_b[one], sampler, (limit_b[one],), 12, seed_b[one], 3)
    for other in (together[i], reverse[i]):
      jax.tree.map(np.testing.assert_array_equal, next(rows(alone)), other)
  assert (together[2][4] == 0).all() and (together[2][1] == -np.inf).all()


@pytest.mark.parametrize("sampler", [s for s in SAMPLERS if s != Sampler()], ids=repr)
def test_seeds_and_samples_differ(sampler):
  toy = Toy(vocabulary=30, scale=0.1)
  limit_b = np.array([20, 20, 20])
  same = np.array([7, 7, 7])
  output = run(toy, same, sampler, (limit_b,), 21, np.array([4, 9, 4]), 2)
  first, second, third = (tuple(map(ids, token_wt)) for token_wt in output.token_bwt)
  assert first == third
  assert len({*first, *second}) == 4
  again = run(toy, same, sampler, (limit_b,), 21, None, 2)
  assert len({tuple(map(ids, token_wt)) for token_wt in again.token_bwt}) == 1


def test_greedy_takes_the_best_and_scores_it_under_the_model():
  toy = Toy(vocabulary=9, seed=8, scale=0.8, dtype=jnp.bfloat16)
  longest_b = np.array([12, 5, 9])
  output = run(toy, SENTENCES, Sampler(), (longest_b, np.array([4, 2, 3])), 13)
  for row, sentence in enumerate(SENTENCES):
    next_token, expected, gains = toy.next_token(int(sentence)), (), []
    while expected[-1:] != (EOS,):
      logprob_v = next_token(expected)
      allowed = [t for t in range(9) if t not in (PAD, BOS)]
      if len(expected) < [4, 2, 3][row]:
        allowed.remove(EOS)
      if len(expected) == longest_b[row]:
        allowed = [EOS]
      token = max(allowed, key=lambda t: logprob_v[t])
      expected, gains = (*expected, token), [*gains, logprob_v[token]]
    n = len(expected)
    assert ids(output.token_bwt[row, 0]) == expected
    assert output.length_bw[row, 0] == n
    np.testing.assert_allclose(output.token_logprob_bwt[row, 0, :n], gains, 2e-5)
    assert (output.token_logprob_bwt[row, 0, n:] == 0).all()
    np.testing.assert_allclose(output.logprob_bw[row, 0], sum(gains), 2e-5)
  np.testing.assert_array_equal(output.score_bw, output.logprob_bw)


def test_where_nothing_is_allowed_there_is_no_output():
  toy = Toy(vocabulary=5)
  limits = (np.array([4, 6, 5]), np.array([2, 3, 2]))
  for sampler in SAMPLERS:
    output = run(toy, SENTENCES, sampler, limits, 7, suppressed=(3, 4))
    assert (output.token_bwt == PAD).all() and (output.length_bw == 0).all()
    assert (output.logprob_bw == -jnp.inf).all()
    assert (output.token_logprob_bwt == 0).all()


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (lambda: Temperature(0.0), "temperature: expected more than 0; for greedy"),
    (lambda: TopP(0.9, -1.0), "temperature: expected 1e-10 to 1000000, got -1"),
    (lambda: TopK(0), "k: expected 1 or more, got 0"),
    (lambda: TopP(1.5), "p: expected above 0 and at most 1, got 1.5"),
    (lambda: MinP(-0.1), "p: expected 0 to 1, got -0.1"),
  ],
)
def test_bad_settings(make, message):
  with pytest.raises(ValueError, match=message):
    make()
