"""Sequences of any length to batches of declared shapes."""

import numpy as np
import pytest

from transformer.data.batching import Grouped
from transformer.data.corpus import Texts
from transformer.inference.batches import (
  PaddedLengths,
  affordable,
  evaluation_batches,
  group,
  group_rows,
  pad_ids,
  pad_tokens,
)


@pytest.mark.parametrize("declared", [(), (3, 5), (3, 8)])
def test_lengths_are_the_smallest_that_hold_a_sequence(declared):
  lengths = PaddedLengths(declared, 4)
  allowed = sorted({*declared, *range(4, 40, 4)} - {4 if declared else 0})
  allowed = [n for n in allowed if not declared or n in declared or n > declared[-1]]
  for length in range(1, 30):
    expected = next(n for n in allowed if n >= length)
    assert lengths.round_up(length) == expected
    reached = {lengths.round_up(n) for n in range(1, length + 1)}
    assert reached == set(lengths.up_to(length))


def test_groups_hold_every_sequence_once_in_order_in_the_fewest_rows():
  shapes = [(7, 2), (5, 9), (7, 2), (5, 9), (7, 2), (5, 1), (7, 2)]
  order = [6, 5, 4, 3, 2, 0]
  found = list(group(shapes, lambda shape: (1, 3) if shape[0] == 7 else (2, 5), order))
  assert found == [
    ((5, 1), 2, [5]),
    ((5, 9), 2, [3]),
    ((7, 2), 3, [6, 4, 2]),
    ((7, 2), 1, [0]),
  ]
  assert found[0].index_b.tolist() == [5, -1]


def test_rows_of_one_shape_are_taken_in_order():
  order = [4, 0, 3, 1]
  assert [g.index_b.tolist() for g in group_rows(order, 3)] == [[4, 0, 3], [1, -1, -1]]
  assert list(group_rows([], 3)) == []


def test_a_batch_has_as_many_rows_as_its_tokens_allow_and_at_least_the_fewest():
  assert affordable((2, 8, 32), 80, 10) == [2, 8]
  assert affordable((2, 8, 32), 79, 10) == [2]
  assert affordable((2, 8, 32), 3, 10) == [2]


def test_padding_has_no_segment():
  tokens = pad_tokens([np.array([6, 5]), np.array([4, 8, 7])], 3, 5)
  ids = [[6, 5, 0, 0, 0], [4, 8, 7, 0, 0], [0] * 5]
  np.testing.assert_array_equal(tokens.id_bt, ids)
  np.testing.assert_array_equal(tokens.seg_bt, np.array(ids) > 0)
  expected = [[0, 1, 0, 0, 0], [0, 1, 2, 0, 0], [0] * 5]
  np.testing.assert_array_equal(tokens.pos_bt, expected)
  np.testing.assert_array_equal(
    pad_ids([np.array([6, 5]), np.array([4, 8, 7])], 3, 5), ids
  )


class Numbered(Texts):
  """Every token of an example is its number."""

  lengths_n2 = np.array([[3], [70], [11], [12], [2], [9]])

  def __getitem__(self, i):
    return np.full(self.lengths_n2[i, 0], i)


def test_evaluation_has_every_example_once_however_long():
  seen, shapes = [], set()
  for tokens in evaluation_batches(Numbered(), Grouped(tokens=128, lengths=(8, 12))):
    shapes.add(tokens.id_bt.shape)
    for id_t, seg_t in zip(tokens.id_bt, tokens.seg_bt, strict=True):
      if seg_t.any():
        i = int(id_t[0])
        seen.append(i)
        assert (id_t[seg_t > 0] == i).all()
        assert (seg_t > 0).sum() == Numbered.lengths_n2[i, 0]
  assert sorted(seen) == list(range(6))
  assert shapes == {(16, 8), (10, 12), (1, 128)}
