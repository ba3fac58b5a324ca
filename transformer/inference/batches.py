"""Sequences of any length to batches of declared shapes.

A program is compiled for each shape that it sees, so inference and evaluation round
lengths up to declared ones, and the number of rows to declared counts. What does not
fill a batch is padding.
"""

import dataclasses
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from transformer.batch import PAD, Tokens
from transformer.data.assemble import pack_tokens, pack_values
from transformer.data.batching import LENGTHS, Grouped, Shape
from transformer.data.pipeline import Examples
from transformer.inference.devices import Devices

S = TypeVar("S", bound=Hashable)


@dataclasses.dataclass(frozen=True)
class PaddedLengths:
  """The declared lengths of padded sequences.

  Attributes:
    declared: ascending; may be empty.
    multiple: longer sequences are padded to a multiple of it.
  """

  declared: tuple[int, ...]
  multiple: int

  def round_up(self, length: int) -> int:
    """The smallest declared length that holds `length` tokens."""
    for declared in self.declared:
      if length <= declared:
        return declared
    return -(-int(length) // self.multiple) * self.multiple

  def up_to(self, length: int) -> tuple[int, ...]:
    """Every length that sequences of up to `length` tokens may be padded to."""
    longest = self.round_up(length)
    last = self.declared[-1] if self.declared else 0
    first = (last // self.multiple + 1) * self.multiple
    beyond = range(first, longest + 1, self.multiple)
    return (*(n for n in self.declared if n <= longest), *beyond)


TEXT_LENGTHS = PaddedLengths(LENGTHS, LENGTHS[-1])
"""The lengths that texts are padded to for a model without a decoder."""


class Group(NamedTuple, Generic[S]):
  """The sequences of one batch, and its declared shape."""

  shape: S  # as the caller gave it for each of the sequences
  rows: int
  indices: list[int]  # of the sequences, at most `rows`

  @property
  def index_b(self) -> np.ndarray:
    """The indices, `[rows]`, -1 for rows of padding."""
    index_b = np.full(self.rows, -1, np.int64)
    index_b[: len(self.indices)] = self.indices
    return index_b


def group(
  shapes: Sequence[S],
  row_counts: Callable[[S], Sequence[int]],
  order: Sequence[int] | None = None,
) -> Iterator[Group[S]]:
  """Batches of sequences that have the same padded shape, by ascending shape.

  Args:
    shapes: the padded shape of every sequence, such as its length.
    row_counts: the declared numbers of rows of batches of a shape, ascending. As many
      batches as possible have the last; what remains takes the smallest that holds it.
    order: indices of the sequences in the order in which they fill the batches of their
      shape; those that are not in it are left out. All, as they come, if None.
  """
  indices_of: dict[S, list[int]] = {}
  for i in range(len(shapes)) if order is None else order:
    indices_of.setdefault(shapes[i], []).append(int(i))
  for shape in sorted(indices_of):  # type: ignore[type-var]
    counts, indices = row_counts(shape), indices_of[shape]
    for start in range(0, len(indices), counts[-1]):
      part = indices[start : start + counts[-1]]
      yield Group(shape, next(rows for rows in counts if rows >= len(part)), part)


def group_rows(order: Sequence[int], rows: int) -> Iterator[Group[int]]:
  """Batches of exactly `rows` rows, in order, for examples that have one shape."""
  shapes = [0] * (max(order, default=-1) + 1)
  return group(shapes, lambda _: (rows,), order)


def affordable(row_counts: Sequence[int], tokens: int, row_tokens: int) -> list[int]:
  """Those of the declared row counts with which a batch has at most `tokens` tokens,
  `row_tokens` a row; the first where none has."""
  fitting = [rows for rows in row_counts if rows * row_tokens <= tokens]
  return fitting or [row_counts[0]]


def pad_tokens(sequences: Sequence[np.ndarray], rows: int, length: int) -> Tokens:
  """One sequence of ids a row, `[rows, length]`; other rows are padding."""
  return pack_tokens(_one_a_row(sequences, rows), length)


def pad_ids(sequences: Sequence[np.ndarray], rows: int, length: int) -> np.ndarray:
  """The ids of `pad_tokens` alone, int32 `[rows, length]`."""
  return pack_values(_one_a_row(sequences, rows), length, PAD)


def _one_a_row(sequences: Sequence[np.ndarray], rows: int):
  return [[ids] for ids in sequences] + [[]] * (rows - len(sequences))


def evaluation_batches(
  examples: Examples, batching: Grouped, devices: Devices = Devices()
) -> Iterator[Any]:
  """Every example once, one a row, the rows split over devices; examples longer than
  the batching's longest shape are padded to a multiple of 64."""
  lengths = PaddedLengths(batching.lengths, 64)
  padded = [lengths.round_up(n) for n in examples.lengths_n2.max(axis=1, initial=0)]
  for length, rows, indices in group(
    padded, lambda length: (max(1, batching.tokens // length) * devices.count,)
  ):
    example_bm = np.full((rows, 1), -1, np.int64)
    example_bm[: len(indices), 0] = indices
    yield devices.put(examples.batch(Shape(rows, length, length), example_bm))
