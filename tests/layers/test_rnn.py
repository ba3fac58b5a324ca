"""RNNSeq2Seq cells and layers against the NumPy oracle."""

import functools

import jax
import numpy as np
import pytest
from flax import linen as nn

from tests.oracles import recurrent as oracle
from transformer.layers.rnn import (
  GRU,
  LSTM,
  Cell,
  RecurrentLayer,
  begins,
  orthogonal,
)

CELLS = {
  Cell(): oracle.elman,
  GRU(): oracle.gru,
  LSTM(): functools.partial(oracle.lstm, forget=1.0),
  LSTM(forget=0.0): functools.partial(oracle.lstm, forget=0.0),
}
D, F = 5, 7


def random(seed, *shape):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def layer_of(cell):
  layer = RecurrentLayer(cell, D, F)
  x, seg = random(0, 2, 3, D), np.ones((2, 3), np.int32)
  params = nn.unbox(layer.init(jax.random.key(0), x, begins(seg)))
  params = jax.tree.map(lambda leaf: random(leaf.size, *leaf.shape) * 0.5, params)
  return layer, params


def weights_of(params):
  return {name: np.asarray(w, np.float64) for name, w in params["params"].items()}


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_a_layer_is_the_oracles_and_begins_anew_with_each_example(cell, reverse):
  """Two examples and padding in a row, each with a state of its own to begin with."""
  layer, params = layer_of(cell)
  seg = np.array([[1, 1, 1, 1, 2, 2, 2, 0, 0]])
  x, initial = random(1, 1, 9, D), [random(2 + p, 1, 9, F) for p in range(cell.parts)]
  found = layer.apply(params, x, begins(seg, reverse), tuple(initial), reverse=reverse)
  assert len(found) == cell.parts
  for start, stop in ((0, 4), (4, 7)):
    order = range(start, stop) if not reverse else range(stop - 1, start - 1, -1)
    state = tuple(part[0, order[0]].astype(np.float64) for part in initial)
    xs = [x[0, t].astype(np.float64) for t in order]
    states = oracle.run(CELLS[cell], weights_of(params), xs, state)
    for part in range(cell.parts):
      expected = np.stack([state[part] for state in states])
      np.testing.assert_allclose(found[part][0, list(order)], expected, atol=2e-5)


@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_without_an_initial_state_it_begins_at_zero(cell):
  layer, params = layer_of(cell)
  x, seg = random(1, 2, 4, D), np.ones((2, 4), np.int32)
  zeros = tuple(np.zeros((2, 4, F), np.float32) for _ in range(cell.parts))
  found = layer.apply(params, x, begins(seg))
  expected = layer.apply(params, x, begins(seg), zeros)
  np.testing.assert_array_equal(found[0], expected[0])
  alone = CELLS[cell](weights_of(params), x[1, 0], tuple(np.zeros(F) for _ in zeros))
  np.testing.assert_allclose(found[0][1, 0], alone[0], atol=1e-5)


def test_begins_is_literal():
  seg = np.array([[1, 1, 2, 3, 3, 0, 0]])
  t, f = True, False
  assert begins(seg).tolist() == [[t, f, t, t, f, t, f]]
  assert begins(seg, reverse=True).tolist() == [[f, t, t, f, t, f, t]]


def test_recurrent_weights_begin_orthogonal_gate_by_gate():
  u = np.asarray(orthogonal(jax.random.key(1), (6, 3, 6)))
  for gate in range(3):
    np.testing.assert_allclose(u[:, gate].T @ u[:, gate], np.eye(6), atol=1e-5)
  assert np.abs(u[:, 0] - u[:, 1]).max() > 0.1
