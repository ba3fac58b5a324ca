"""The oracle of beam search against exhaustive search."""

import itertools

import numpy as np
import pytest

from tests.oracles import beam


class TestBeam:
  def test_every_output_once(self):
    # Words {0, 2} and the end 1: 1 + 2 + 4 finished outputs, and 8 that were cut.
    finished = list(beam.outputs(3, eos=1, longest=3))
    assert finished == [
      (1,), (0, 1), (2, 1), (0, 0, 1), (0, 2, 1), (2, 0, 1), (2, 2, 1),
    ]  # fmt: skip
    cut = set(beam.outputs(3, 1, 3, unfinished=True)) - set(finished)
    assert len(cut) == 8 and all(len(y) == 3 and 1 not in y for y in cut)
    assert list(beam.outputs(3, 1, 3, prefix=(2,))) == [(2, 1), (2, 0, 1), (2, 2, 1)]
    cut = set(beam.outputs(3, 1, 3, prefix=(2,), unfinished=True)) - set(finished)
    assert cut == {(2, 0, 0), (2, 0, 2), (2, 2, 0), (2, 2, 2)}
    allowed = list(beam.outputs(4, 1, 3, prefix=(0,), suppressed=(0, 3)))
    assert allowed == [(0, 1), (0, 2, 1)]

  def test_probabilities_add_up_to_one(self, rng):
    table_vv = np.log(rng.dirichlet(np.ones(4), size=4))

    def score(output):
      return beam.log_probability(output, lambda y: table_vv[y[-1] if y else 0])

    outputs = list(beam.outputs(4, eos=3, longest=5, unfinished=True))
    assert sum(np.exp(score(y)) for y in outputs) == pytest.approx(1)
    ranked = beam.ranking(score, outputs)
    assert len(ranked) == len(outputs)
    assert all(a >= b for (a, _), (b, _) in itertools.pairwise(ranked))
    assert beam.best(score, 4, 3, 5, unfinished=True) == ranked[0][::-1]

  def test_finds_what_greedy_misses(self):
    # 0 looks better at first (0.6), but all it leads to is unlikely; 1 ends at once.
    next_token = {(): [0.6, 0.4, 0.0], (0,): [0.3, 0.3, 0.4], (1,): [0.0, 0.0, 1.0]}

    def score(output):
      known = all(output[:t] in next_token for t in range(len(output)))
      with np.errstate(divide="ignore"):
        return (
          beam.log_probability(output, lambda y: np.log(next_token[y]))
          if known
          else -np.inf
        )

    output, value = beam.best(score, 3, eos=2, longest=3)
    assert (output, value) == ((1, 2), pytest.approx(np.log(0.4)))

  def test_penalties_by_hand(self):
    assert beam.gnmt_penalty(1, 0.6) == 1
    assert beam.gnmt_penalty(19, 0.5) == pytest.approx(2)
    attention_ts = np.array([[0.5, 0.2, 0.9], [0.5, 0.3, 0.9]])  # sums 1, 0.5, 1.8
    assert beam.coverage_penalty(attention_ts, 0.2) == pytest.approx(0.2 * np.log(0.5))
