"""Pooling: one vector for each text of a row."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.layers.test_layers import random
from tests.models.test_transformer import tokens
from transformer.layers.pooling import FirstToken, Pooling, unit_length

BATCH = tokens([[[5, 6, 7], [8, 9]], [[4, 5, 6, 7, 8, 9]]], 7)


@pytest.mark.parametrize(
  "pooling, expected",
  [
    (Pooling(), lambda x: [[x[0, :3].mean(0), x[0, 3:5].mean(0)], [x[1, :6].mean(0)]]),
    (FirstToken(), lambda x: [[x[0, 0], x[0, 3]], [x[1, 0]]]),
  ],
)
def test_texts_are_pooled_apart_and_padding_is_left_out(pooling, expected):
  x_btd = random(1, 2, 7, 16)
  found, real = pooling(x_btd, BATCH, examples=3)
  assert found.shape == (2, 3, 16)
  assert real.tolist() == [[True, True, False], [True, False, False]]
  for row, texts in enumerate(expected(np.asarray(x_btd))):
    for number, vector in enumerate(texts):
      np.testing.assert_allclose(found[row, number], vector, atol=1e-6)
  assert not np.any(found[~real])


def test_unit_length_leaves_zeros():
  x_nd = jnp.array([[3.0, 4.0], [0.0, 0.0]])
  np.testing.assert_allclose(unit_length(x_nd), [[0.6, 0.8], [0.0, 0.0]], atol=1e-6)
