"""Scores of given outputs."""

import jax
import jax.numpy as jnp
import numpy as np

from tests.decoding.toys import Toy
from transformer.batch import EOS, PAD
from transformer.decoding.beam import beam_search
from transformer.decoding.constraint import Constraint
from transformer.decoding.teacher_forcing import score

SENTENCES = np.array([3, 41, 8])


def test_given_tokens_have_the_model_s_log_probabilities():
  """Forbidden tokens too, since no limit is applied."""
  toy = Toy(vocabulary=9, seed=1, dtype=jnp.bfloat16)
  targets = [(4, 8, 6, EOS), (EOS,), (2, 5, 5, 5, 3, EOS)]
  target_bt = np.zeros((3, 7), np.int32)
  for row, target in enumerate(targets):
    target_bt[row, : len(target)] = target
  forced = jax.jit(lambda t: score(toy.step, toy.start(SENTENCES, 7), t))
  token_logprob_bt, coverage_bws = forced(target_bt)
  assert token_logprob_bt.dtype == jnp.float32
  for row, target in enumerate(targets):
    next_token = toy.next_token(int(SENTENCES[row]))
    expected = [next_token(target[:t])[token] for t, token in enumerate(target)]
    np.testing.assert_allclose(token_logprob_bt[row, : len(target)], expected, 2e-5)
    coverage_s = toy.attended(int(SENTENCES[row]), target).sum(axis=0)
    np.testing.assert_allclose(coverage_bws[row, 0], [*coverage_s, 1.0], 1e-5)
  assert (np.asarray(token_logprob_bt)[target_bt == PAD] == 0).all()


def test_a_search_s_output_scores_what_the_search_said():
  toy = Toy(vocabulary=9, seed=2)
  constraint = Constraint(jnp.array([9, 5, 7]), jnp.array([3, 0, 4]))
  found = beam_search(toy.step, toy.start(SENTENCES, 10), constraint, 10, 4, n_best=4)
  for i in range(4):
    token_logprob_bt, _ = score(
      toy.step, toy.start(SENTENCES, 10), found.token_bwt[:, i]
    )
    np.testing.assert_allclose(
      token_logprob_bt, found.token_logprob_bwt[:, i], rtol=1e-6
    )
