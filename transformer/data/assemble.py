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
