"""Imported vocabularies in this project's order of ids."""

import numpy as np
import pytest

from transformer.batch import BOS, EOS, PAD, UNK
from transformer.data.id_order import ABSENT, id_order


def test_special_tokens_take_our_ids_and_the_others_keep_their_order():
  order = id_order(7, pad=6, eos=0, unk=1)
  assert order.theirs == (6, 0, ABSENT, 1, 2, 3, 4, 5)
  assert (order.size, order.imported_size, order.absent) == (8, 7, (BOS,))
  assert order.ours.tolist() == [EOS, UNK, 4, 5, 6, 7, PAD]


@pytest.mark.parametrize(
  "special, theirs",
  [
    ({}, (ABSENT, ABSENT, ABSENT, ABSENT, 0, 1, 2, 3, 4)),
    (dict(pad=1, eos=2, bos=0, unk=3), (1, 2, 0, 3, 4)),
    (dict(eos=4, bos=4), (ABSENT, 4, ABSENT, ABSENT, 0, 1, 2, 3)),
    (dict(pad=2, eos=2, bos=3), (ABSENT, 2, 3, ABSENT, 0, 1, 4)),
    (dict(pad=0, bos=0, unk=0), (0, ABSENT, ABSENT, ABSENT, 1, 2, 3, 4)),
  ],
)
def test_an_id_of_several_roles_is_used_once(special, theirs):
  assert id_order(5, **special).theirs == theirs


def test_rows_round_trip():
  order = id_order(7, pad=6, eos=0, unk=1)
  table = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
  rows = order.import_rows(table)
  np.testing.assert_array_equal(rows[PAD], table[6])
  np.testing.assert_array_equal(rows[4:], table[2:6])
  assert not rows[BOS].any()
  np.testing.assert_array_equal(order.export_rows(rows), table)


def test_an_id_outside_the_vocabulary_is_refused():
  with pytest.raises(ValueError, match="eos token: expected an id from 0 to 4, got 5"):
    id_order(5, eos=5)
