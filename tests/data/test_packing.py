"""The compiled packing is first fit, and rows are assembled as example by example."""

import numpy as np
import pytest

from transformer.data import packing
from transformer.data.assemble import pack_spans, pack_tokens


def first_fit(lengths_n2, length, open_rows):
  """Johnson's first fit with `open_rows` rows open at a time, in plain Python."""
  room = [[length] * lengths_n2.shape[1] for _ in range(open_rows)]
  rows, done = [[] for _ in range(open_rows)], []
  for i, need in enumerate(lengths_n2.tolist()):
    fits = [
      k
      for k in range(open_rows)
      if all(r >= n for r, n in zip(room[k], need, strict=True))
    ]
    if fits:
      k = fits[0]
    else:
      k = min(range(open_rows), key=lambda k: sum(room[k]))
      done.append(rows[k])
      rows[k], room[k] = [], [length] * len(need)
    rows[k].append(i)
    room[k] = [r - n for r, n in zip(room[k], need, strict=True)]
  return [*done, *(row for row in rows if row)]


@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("count", [0, 1, 7, 700])
def test_rows_are_those_of_first_fit(count, sides, monkeypatch):
  monkeypatch.setattr(packing, "CHUNK", 64)  # the loop is entered several times
  lengths = np.random.default_rng(count).integers(1, 30, (count, sides))
  rows = packing.pack(lengths, 41, open_rows=5)
  expected = first_fit(lengths, 41, 5)
  assert [row[row >= 0].tolist() for row in rows] == expected
  assert rows.shape[1] == max(map(len, expected), default=1)


def test_spans_are_packed_as_examples_are():
  rng = np.random.default_rng(0)
  ids = rng.integers(4, 99, 200).astype(np.uint16)
  start_bm, size_bm = rng.integers(0, 180, (5, 3)), rng.integers(1, 7, (5, 3))
  size_bm[1, 2], size_bm[3] = 0, 0
  rows = [
    [ids[a : a + n] for a, n in zip(starts, sizes, strict=True) if n]
    for starts, sizes in zip(start_bm, size_bm, strict=True)
  ]
  found = pack_spans(ids, start_bm, size_bm, 19)
  for array, expected in zip(found, pack_tokens(rows, 19), strict=True):
    np.testing.assert_array_equal(array, expected)
  size_bm[0] = 7
  with pytest.raises(ValueError, match="a row of 19 slots has 21 tokens"):
    pack_spans(ids, start_bm, size_bm, 19)
