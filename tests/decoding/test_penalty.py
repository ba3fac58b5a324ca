"""Length penalties: their divisors, and the bounds by which a search may stop."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.decoding.test_beam import PENALTIES
from tests.oracles import beam as oracle
from transformer.decoding.penalty import (
  GNMT,
  Average,
  HeuristicLengthPower,
  LengthPenalty,
  LengthPower,
)


def test_divisors_are_those_of_the_papers():
  n = np.arange(1, 40)
  for alpha in (0.0, 0.6, 1.3, -0.7):
    expected = [oracle.gnmt_penalty(int(length), alpha) for length in n]
    np.testing.assert_allclose(GNMT(alpha).divisor(n), expected, 1e-6)
  np.testing.assert_array_equal(Average().divisor(n), n)
  np.testing.assert_array_equal(LengthPenalty().divisor(n), 1)
  np.testing.assert_allclose(LengthPower(0.7).divisor(n), n**0.7, 1e-6)


def test_the_heuristic_bound_is_the_present_score():
  penalty = HeuristicLengthPower(0.7)
  assert not penalty.exact
  assert float(penalty.bound(jnp.float32(-3.0), 5, 9)) == pytest.approx(-3.0 / 5**0.7)


def test_bound_is_reached_and_never_passed():
  """Over all ways on from n tokens to at most max_n and EOS, at no further cost."""
  covered_s = jnp.ones(3)
  for penalty in PENALTIES:
    for n, max_n in [(1, 6), (4, 9), (5, 5)]:
      bound = float(penalty.bound(jnp.float32(-3.0), n, max_n))
      scores = [float(penalty.normalise(jnp.float32(-3.0), m + 1, covered_s))
                for m in range(n, max_n + 1)]  # fmt: skip
      assert bound == max(scores), penalty
