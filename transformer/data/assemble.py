"""Token ids of examples to the arrays of a batch."""

from collections.abc import Iterator, Sequence

import numpy as np

from transformer.batch import Tokens

Packing = Sequence[Sequence[np.ndarray]]
"""The arrays of each row of a batch, one for each example, in order."""


def members(example_bm: np.ndarray) -> Iterator[list[int]]:
  """The examples of every row of a plan's `[b, m]`, without the -1 of unused slots."""
  for example_m in example_bm:
    yield [int(i) for i in example_m if i >= 0]


def pack_tokens(packing: Packing, length: int) -> Tokens:
  """`Tokens` `[b, length]` of rows of ids; each example is a segment of its row."""
  array = np.zeros((3, len(packing), length), np.int32)
  for row, examples in enumerate(packing):
    end = 0
    for segment, ids in enumerate(examples, start=1):
      span = slice(end, end + len(ids))
      array[0, row, span] = ids
      array[1, row, span] = np.arange(len(ids))
      array[2, row, span] = segment
      end = span.stop
  return Tokens(*array)


def pack_spans(
  id_n: np.ndarray, start_bm: np.ndarray, size_bm: np.ndarray, length: int
) -> Tokens:
  """`pack_tokens` of examples that are spans of one long array of ids.

  Args:
    id_n: the ids.
    start_bm: where the examples of every row begin in it.
    size_bm: their lengths; 0 for none.
    length: of the rows.

  Raises:
    ValueError: a row has more tokens than that.
  """
  end_bm = np.cumsum(size_bm, axis=1)
  if end_bm.max(initial=0) > length:
    raise ValueError(f"a row of {length} slots has {end_bm.max()} tokens")
  row_b1 = np.arange(len(size_bm))[:, None] * length
  segment_bm = np.cumsum(size_bm > 0, axis=1)
  # One element for each example, and then one for each of its tokens.
  used_bm = size_bm > 0
  size_k = size_bm[used_bm]
  first_k = np.cumsum(size_k) - size_k
  position_n = np.arange(size_k.sum()) - np.repeat(first_k, size_k)
  slot_n = np.repeat((row_b1 + end_bm - size_bm)[used_bm], size_k) + position_n
  array = np.zeros((3, len(size_bm), length), np.int32)
  flat = array.reshape(3, -1)
  flat[0, slot_n] = id_n[np.repeat(start_bm[used_bm], size_k) + position_n]
  flat[1, slot_n] = position_n
  flat[2, slot_n] = np.repeat(segment_bm[used_bm], size_k)
  return Tokens(*array)


def pack_values(packing: Packing, length: int, padding: int) -> np.ndarray:
  """One number a token, int32 `[b, length]`, at the slots that `pack_tokens` gives to
  the tokens; `padding` elsewhere."""
  value_bt = np.full((len(packing), length), padding, np.int32)
  for row, examples in enumerate(packing):
    if examples:
      values = np.concatenate(examples)
      value_bt[row, : len(values)] = values
  return value_bt


def empty_tokens(rows: int, length: int) -> Tokens:
  """`Tokens` of padding alone."""
  return pack_tokens([[]] * rows, length)
