"""Beam search against exhaustive search, and independent of the batch."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.decoding.toys import Toy, ids, objective, rows
from tests.oracles import beam as oracle
from transformer.batch import BOS, EOS, PAD
from transformer.config import members
from transformer.decoding.beam import beam_search
from transformer.decoding.constraint import Constraint
from transformer.decoding.penalty import (
  GNMT,
  Coverage,
  LengthPenalty,
  LengthPower,
)
from transformer.decoding.sample import generate
from transformer.decoding.samplers import Sampler
from transformer.decoding.teacher_forcing import score

PENALTIES = [kind() for kind in members(LengthPenalty).values() if kind.exact]
PENALTIES += [GNMT(alpha=1.3), GNMT(alpha=-0.7), Coverage(2.0, LengthPenalty())]
penalties = pytest.mark.parametrize("penalty", PENALTIES, ids=repr)

SENTENCES = np.array([3, 41, 8])


class Either(NamedTuple):
  """One of `PENALTIES` by its number, and whether a search may stop early: so one
  compilation serves them all. (No member of the family: no other test meets it.)"""

  number: int
  early: bool = True

  @property
  def watches(self):
    return True

  def normalise(self, logprob, n, coverage_s):
    kinds = [penalty.normalise for penalty in PENALTIES]
    return jax.lax.switch(self.number, kinds, logprob, n, coverage_s)

  def bound(self, logprob, n, max_n):
    kinds = [penalty.bound for penalty in PENALTIES]
    bound = jax.lax.switch(self.number, kinds, logprob, n, max_n)
    never = jnp.where(n > max_n, -jnp.inf, jnp.zeros_like(bound))
    return jnp.where(self.early, bound, never)


@functools.partial(
  jax.jit, static_argnames=("toy", "capacity", "beam", "n_best", "suppressed")
)
def _beam(toy, sentence_b, limits, capacity, beam, penalty, n_best, suppressed):
  constraint, state = Constraint(*limits, suppressed), toy.start(sentence_b, capacity)
  return beam_search(toy.step, state, constraint, capacity, beam, penalty, n_best)


def search(
  toy, sentence_b, constraint, capacity, beam, penalty=GNMT(), n_best=1, early=True
):
  """`beam_search` compiled; the constraint may hold lists."""
  *limits, suppressed = constraint
  limits = [None if limit is None else jnp.asarray(limit) for limit in limits]
  return _beam(
    toy, jnp.asarray(sentence_b), limits, capacity, beam,
    Either(PENALTIES.index(penalty), early), n_best, suppressed,
  )  # fmt: skip


@functools.partial(jax.jit, static_argnames=("toy", "capacity"))
def greedy(toy, sentence_b, constraint, capacity):
  state = toy.start(sentence_b, capacity)
  return generate(toy.step, state, Sampler(), constraint, capacity)


def ranking(toy, sentence, penalty, longest, minimum=0, **options):
  """Every output allowed, best first; `longest` and `minimum` are without `EOS`."""
  candidates = oracle.outputs(
    toy.vocabulary, EOS, longest + 1,
    prefix=options.get("prefix", ()),
    suppressed=(PAD, BOS, *options.get("suppressed", ())),
  )  # fmt: skip

  def score(output):
    return objective(toy, sentence, output, penalty)

  return oracle.ranking(score, [c for c in candidates if len(c) > minimum])


def assert_ranked(output, row, ranked):
  """Row `row` of `output` is the head of `ranked`, all of it where it is shorter."""
  token_wt, score_w = output.token_bwt[row], np.asarray(output.score_bw[row])
  n = min(len(ranked), len(token_wt))
  assert [ids(token_t) for token_t in token_wt[:n]] == [best for _, best in ranked[:n]]
  np.testing.assert_allclose(score_w[:n], [score for score, _ in ranked[:n]], atol=2e-5)
  assert (score_w[n:] == -np.inf).all()
  assert (np.asarray(output.length_bw[row])[n:] == 0).all()


@penalties
@pytest.mark.parametrize("order", [0, 1, 2])
def test_wide_beam_is_exhaustive(penalty, order):
  """UNK and 3 words; every output of up to 5 tokens with EOS."""
  toy = Toy(vocabulary=7, order=order, seed=order)
  limit_b = [4, 4, 2]
  output = search(
    toy, SENTENCES, Constraint(limit_b), 5, beam=256, penalty=penalty, n_best=6
  )
  for row, sentence in enumerate(SENTENCES):
    ranked = ranking(toy, int(sentence), penalty, limit_b[row])
    assert_ranked(jax.tree.map(lambda x: x[:, :6], output), row, ranked)


@penalties
def test_wide_beam_is_exhaustive_under_limits(penalty):
  """UNK and 4 words with a prefix, a least length and suppressed tokens, per row."""
  toy = Toy(vocabulary=8, seed=5)
  prefixes, longest, minimum = [(6,), (), (5, 3)], [5, 4, 3], [2, 3, 0]
  prefix_bt = [[6, PAD], [PAD, PAD], [5, 3]]
  constraint = Constraint(longest, minimum, prefix_bt, suppressed=(3,))
  output = search(toy, SENTENCES, constraint, 6, beam=256, penalty=penalty, n_best=256)
  for row, sentence in enumerate(SENTENCES):
    ranked = ranking(
      toy, int(sentence), penalty, longest[row], minimum[row],
      prefix=prefixes[row], suppressed=(3,),
    )  # fmt: skip
    assert_ranked(output, row, ranked)


def reference(toy, sentence, longest, minimum, beam, penalty):
  """Beam search as its docstring specifies it, in plain Python, to its full length."""
  logprob_v = toy.next_token(sentence)
  words = [i for i in range(toy.vocabulary) if i not in (PAD, BOS)]
  live, found, greedy = [(0.0, ())], [], ()
  for length in range(longest + 1):
    allowed = [i for i in words if i != EOS or length >= minimum]
    grown = [
      (total + logprob_v(past)[token], (*past, token))
      for total, past in live
      for token in ([EOS] if length == longest else allowed)
    ]
    grown.sort(key=lambda pair: -pair[0])
    if greedy is not None:
      best = max((c for c in grown if c[1][:-1] == greedy), key=lambda pair: pair[0])
      grown.remove(best)
      grown.insert(0, best)
      greedy = None if best[1][-1] == EOS else best[1]
    grown = grown[: 2 * beam]
    found += [
      (objective(toy, sentence, past, penalty), past)
      for _, past in grown
      if past[-1] == EOS
    ]
    live = [c for c in grown if c[1][-1] != EOS][:beam]
  return sorted(found, key=lambda pair: -pair[0])[:beam]


@penalties
@pytest.mark.parametrize("beam", [1, 2, 4, 9])
def test_narrow_beam_is_the_one_described(penalty, beam):
  """With n_best the whole beam; at 9, twice the beam is more than the vocabulary."""
  toy = Toy(vocabulary=11, seed=2, scale=1.5)
  sentence_b = np.arange(14)
  longest_b, minimum_b = 4 + sentence_b % 6, sentence_b % 5
  output = search(
    toy, sentence_b, Constraint(longest_b, minimum_b), 10, beam, penalty, n_best=beam
  )
  for row in sentence_b:
    limits = longest_b[row], minimum_b[row]
    assert_ranked(output, row, reference(toy, int(row), *limits, beam, penalty))


@penalties
@pytest.mark.parametrize("n_best", [1, 3])
def test_stopping_early_changes_nothing(penalty, n_best):
  toy = Toy(vocabulary=9, seed=7, scale=3.0)
  sentence_b = np.arange(60)
  options = {"beam": 3, "n_best": n_best}
  constraint = Constraint(4 + sentence_b % 9)
  options["penalty"] = penalty
  early = search(toy, sentence_b, constraint, 13, **options)
  late = search(toy, sentence_b, constraint, 13, early=False, **options)
  for one, other in zip(rows(early), rows(late), strict=True):
    t = one[-1][:n_best].max()
    for array, same in zip(one, other, strict=True):
      cut = (slice(n_best), slice(t))[: array.ndim]
      np.testing.assert_array_equal(array[cut], same[cut])


def test_search_does_stop_early():
  toy = Toy(vocabulary=7, order=1, seed=1, scale=4.0)
  steps = []

  def step(token_bw, state):
    jax.debug.callback(lambda: steps.append(None))
    return toy.step(token_bw, state)

  @jax.jit
  def run(penalty):
    state, constraint = toy.start(SENTENCES, 8), Constraint(jnp.array([7, 5, 6]))
    return beam_search(step, state, constraint, 8, 2, penalty)

  def count(penalty):
    steps.clear()
    jax.block_until_ready(run(penalty))
    jax.effects_barrier()
    return len(steps)

  for number, penalty in enumerate(PENALTIES):
    assert count(Either(number, early=False)) == 8
    assert count(Either(number)) < 8, penalty


def test_given_tokens_cost_nothing():
  """The first two are given, so the log-probability is that of the others."""
  toy = Toy(vocabulary=7, seed=11, scale=1.0)
  prefix_bt = jnp.full((3, 2), 5)
  constraint = Constraint(jnp.full(3, 6), prefix_bt=prefix_bt)
  state = toy.start(SENTENCES, 7)
  for given in (0, 2):
    output = beam_search(toy.step, state, constraint, 7, 3, LengthPower(), given=given)
    assert (np.asarray(output.token_bwt)[:, 0, :2] == 5).all()
    logprob_bt = np.asarray(output.token_logprob_bwt)[:, 0]
    assert ((logprob_bt[:, :2] == 0) == (given == 2)).all()
    np.testing.assert_allclose(output.logprob_bw[:, 0], logprob_bt.sum(1), 1e-5)


@penalties
def test_never_below_greedy_and_search_errors(penalty):
  """Counts the sentences whose best output is missed: fewer with wider beams."""
  toy = Toy(vocabulary=7, seed=11, scale=1.0)
  sentence_b = np.arange(24)
  constraint = Constraint(np.full(24, 4), np.full(24, 3))
  first = greedy(toy, sentence_b, constraint, 5)
  _, coverage_bws = score(toy.step, toy.start(sentence_b, 5), first.token_bwt[:, 0])
  greedy_b = penalty.normalise(
    first.logprob_bw[:, 0], first.length_bw[:, 0], coverage_bws[:, 0]
  )
  best_b = [ranking(toy, i, penalty, 4, 3)[0][0] for i in range(24)]
  missed = [int((np.asarray(greedy_b) < np.array(best_b) - 1e-5).sum())]
  for beam in (1, 2, 5, 256):
    output = search(toy, sentence_b, constraint, 5, beam=beam, penalty=penalty)
    score_b = np.asarray(output.score_bw[:, 0])
    assert (score_b >= np.asarray(greedy_b) - 1e-6).all()
    assert (score_b <= np.array(best_b) + 1e-5).all()
    missed.append(int((score_b < np.array(best_b) - 1e-5).sum()))
  assert missed == sorted(missed, reverse=True)
  assert missed[0] > missed[-1] == 0


def test_greedy_is_kept_where_a_beam_would_drop_it():
  """After greedy's first word, 4, come four words alike: three ways from 5 and 6 look
  better then, and end badly."""
  table_vv = np.full((10, 10), -30.0)
  table_vv[BOS, [4, 5, 6]] = np.log([0.4, 0.35, 0.25])
  table_vv[4, [3, 7, 8, 9]] = np.log(0.25)
  table_vv[5, [8, 9]] = np.log(0.5)
  table_vv[3, EOS] = table_vv[6, 9] = 0.0
  table_vv[7:, 5:] = np.log(0.196)
  table_vv[7:, EOS] = np.log(0.02)

  def step(token_bw, state):
    return jnp.asarray(table_vv, jnp.float32)[token_bw], state

  @functools.partial(jax.jit, static_argnames="beam")
  def run(beam, penalty):
    constraint, state = Constraint(jnp.array([6, 4, 5])), Toy(10).start(SENTENCES, 7)
    return beam_search(step, state, constraint, 7, beam, penalty)

  for beam in (1, 2, 3):
    for number, penalty in enumerate(PENALTIES):
      for token_wt in run(beam, Either(number)).token_bwt:
        assert ids(token_wt[0]) == (4, 3, EOS), (beam, penalty)


def test_an_output_does_not_depend_on_its_batch():
  """Alone, among others, beside rows of padding, with more room: every bit."""
  toy = Toy(vocabulary=9, seed=4)
  sentence_b = np.array([5, 77, 0, 31, 5, 12])
  longest_b, minimum_b = np.array([6, 11, 0, 3, 8, 1]), np.array([2, 0, 0, 1, 4, 0])
  prefix_bt = np.array([[4, 8, 0], [0] * 3, [0] * 3, [6, 0, 0], [4, 8, 0], [0] * 3])
  options = {"beam": 3, "n_best": 2}
  constraint = Constraint(longest_b, minimum_b, prefix_bt)
  together = list(rows(search(toy, sentence_b, constraint, 12, **options)))
  backwards = jax.tree.map(lambda x: x[::-1], constraint)
  reverse = list(rows(search(toy, sentence_b[::-1], backwards, 17, **options)))[::-1]
  for i in range(len(sentence_b)):
    own = jax.tree.map(lambda x, i=i: x[i : i + 1], constraint)
    (alone,) = rows(search(toy, sentence_b[i : i + 1], own, 12, **options))
    for other in (together[i], reverse[i]):
      jax.tree.map(np.testing.assert_array_equal, alone, other)
  assert (together[2][4] == 0).all() and (together[2][1] == -np.inf).all()
  assert (together[5][4] > 0).any()


def test_output_arrays_agree():
  toy = Toy(vocabulary=9, seed=6, dtype=jnp.bfloat16)
  limit_b = np.array([7, 4, 0])
  penalty = GNMT(1.3)
  output = search(
    toy, SENTENCES, Constraint(limit_b), 8, beam=4, penalty=penalty, n_best=4
  )
  for array in (output.score_bw, output.logprob_bw, output.token_logprob_bwt):
    assert array.dtype == jnp.float32
  token_bwt, score_bw, logprob_bw, token_logprob_bwt, length_bw = map(
    np.asarray, output
  )
  for row, sentence in enumerate(SENTENCES):
    assert (np.diff(score_bw[row][length_bw[row] > 0]) <= 0).all()
    for i in range(4):
      found = ids(token_bwt[row, i])
      assert len(found) == length_bw[row, i] <= limit_b[row] + 1
      if not found:
        assert score_bw[row, i] == logprob_bw[row, i] == -np.inf
        continue
      next_token = toy.next_token(int(sentence))
      gains = [next_token(found[:t])[token] for t, token in enumerate(found)]
      np.testing.assert_allclose(token_logprob_bwt[row, i, : len(found)], gains, 2e-5)
      np.testing.assert_allclose(logprob_bw[row, i], sum(gains), 2e-5)
      np.testing.assert_allclose(
        score_bw[row, i], sum(gains) / ((5 + len(found)) / 6) ** 1.3, 2e-5
      )
  assert (length_bw[2] == 0).all() and (length_bw[:2] > 0).all()


def test_equal_candidates_stand_in_order():
  """All words alike: lower ids and lower hypotheses first."""
  toy = Toy(vocabulary=8, scale=0.0)
  constraint = Constraint(np.array([2, 1, 3]), np.array([2, 1, 3]))
  output = search(toy, SENTENCES, constraint, 4, beam=3, n_best=3)
  found = [[ids(token_t) for token_t in token_wt] for token_wt in output.token_bwt]
  assert found[0] == [(3, 3, EOS), (3, 4, EOS), (3, 5, EOS)]
  assert found[1] == [(3, EOS), (4, EOS), (5, EOS)]
  assert found[2] == [(3, 3, 3, EOS), (3, 3, 4, EOS), (3, 3, 5, EOS)]


def test_capacity_cuts_and_outputs_still_end():
  toy = Toy(vocabulary=9, seed=3)
  one = search(toy, SENTENCES, Constraint([50, 60, 70], [9, 7, 8]), 4, beam=3)
  other = search(toy, SENTENCES, Constraint([3, 3, 3], [3, 3, 3]), 4, beam=3)
  jax.tree.map(np.testing.assert_array_equal, one, other)
  assert [len(ids(token_wt[0])) for token_wt in one.token_bwt] == [4, 4, 4]


def shapes(jaxpr):
  """The shapes of all that a program computes, in loops and calls too."""
  for equation in jaxpr.eqns:
    inner = [x for x in jax.tree.leaves(
      list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns"))
      if hasattr(x, "eqns")]  # fmt: skip
    inner = [getattr(x, "jaxpr", x) for x in inner]
    for part in inner:
      yield from shapes(part)
    if not inner:
      yield from (variable.aval.shape for variable in equation.outvars)


@pytest.mark.parametrize(("beam", "moves"), [(1, False), (3, True)])
def test_memory_is_never_copied_and_one_hypothesis_not_reordered(beam, moves):
  toy = Toy(vocabulary=9)
  jaxpr = jax.make_jaxpr(
    lambda state, limit_b: beam_search(toy.step, state, Constraint(limit_b), 6, beam)
  )(toy.start(SENTENCES, 6), jnp.array([5, 3, 4]))
  made = set(shapes(jaxpr.jaxpr))
  assert (3, 2 * beam, 6) in made  # what the search makes is seen
  assert not any(shape[-1:] == (13,) for shape in made)
  assert ((3, beam, 17) in made) == moves


def test_bad_settings():
  toy = Toy(vocabulary=9)
  state, constraint = toy.start(SENTENCES, 6), Constraint(jnp.array([5, 3, 4]))
  with pytest.raises(ValueError, match="n_best: expected 1 to the beam's 3, got 4"):
    beam_search(toy.step, state, constraint, 6, 3, n_best=4)
  with pytest.raises(ValueError, match="capacity: expected 1 or more, for EOS, got 0"):
    beam_search(toy.step, state, constraint, 0, 3)
