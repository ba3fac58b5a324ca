"""Which examples share a batch: plans that are pure functions of the step."""

import abc
import dataclasses
import functools
import math
from typing import NamedTuple, Self, TypeVar

import numpy as np

from transformer.config import Positive
from transformer.data.left_out import LeftOut, usable
from transformer.data.packing import pack

R = TypeVar("R", "Grouped", "Packed")

LENGTHS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)


class Shape(NamedTuple):
  """The shape of a batch: rows, and slots of a row on either side."""

  rows: int
  source: int
  target: int


class Plan:
  """An endless sequence of batches over a corpus.

  A *row* holds one or more examples and belongs to one shape. An epoch shuffles the
  rows of every shape, cuts them into batches, filling the last one with empty rows,
  and shuffles the batches: every example comes once. Rows never change, so each epoch
  has the same number of batches, and any step can be looked up by itself.
  """

  def __init__(
    self,
    rows: list[np.ndarray],
    shapes: list[Shape],
    seed: int,
    left_out: LeftOut,
  ):
    """`rows[k]` is `[n, m]`: the examples of each row of `shapes[k]`, -1 for none."""
    self.shapes, self.seed, self.left_out = tuple(shapes), seed, left_out
    self._rows = rows
    self._counts = [-(-len(r) // s.rows) for r, s in zip(rows, shapes, strict=True)]
    self.batches = sum(self._counts)
    self._epoch = functools.lru_cache(maxsize=2)(self._shuffle)

  def batch(self, step: int) -> tuple[Shape, np.ndarray]:
    """The shape of batch `step` and its examples, `[rows, m]`, -1 for none."""
    epoch, place = divmod(step, self.batches)
    kinds, numbers, orders = self._epoch(epoch)
    kind, number = kinds[place], numbers[place]
    shape = self.shapes[kind]
    chosen = orders[kind][number * shape.rows : (number + 1) * shape.rows]
    found = np.full((shape.rows, self._rows[kind].shape[1]), -1, np.int64)
    found[: len(chosen)] = self._rows[kind][chosen]
    return shape, found

  def examples(self, step: int) -> np.ndarray:
    """The numbers of the examples in batch `step`, ascending."""
    rows = self.batch(step)[1]
    return np.sort(rows[rows >= 0])

  def fill(self, lengths_n2: np.ndarray) -> float:
    """The share of an epoch's slots that hold real tokens, those of the examples of
    these lengths."""
    sides = lengths_n2.shape[1]
    slots = sum(
      count * shape.rows * sum(shape[1 : 1 + sides])
      for shape, count in zip(self.shapes, self._counts, strict=True)
    )
    real = sum(int(lengths_n2[rows[rows >= 0]].sum()) for rows in self._rows)
    return real / slots

  def _shuffle(self, epoch: int):
    rng = np.random.default_rng([self.seed, epoch])
    orders = [rng.permutation(len(rows)) for rows in self._rows]
    kinds = np.repeat(np.arange(len(self.shapes)), self._counts)
    numbers = np.concatenate([np.arange(count) for count in self._counts])
    order = rng.permutation(len(kinds))
    return kinds[order], numbers[order], orders


@dataclasses.dataclass(frozen=True)
class Batching(abc.ABC):
  """A recipe for plans. `tokens` is the size of a batch in slots of the longer side,
  over all devices."""

  tokens: int = 4096

  @property
  @abc.abstractmethod
  def shapes(self) -> tuple[Shape, ...]:
    """Every shape that a batch may have, whatever the corpus."""

  @abc.abstractmethod
  def divisible(self, parts: int) -> Self:
    """The nearest recipe of this kind in which the rows of every shape divide into
    `parts`."""

  @abc.abstractmethod
  def plan(
    self, lengths_n2: np.ndarray, seed: int, min_lengths: tuple[int, ...] = (2,)
  ) -> Plan:
    """A plan over examples of these source and target lengths.

    Examples shorter than `min_lengths`, one for each side or one for all, or longer
    than the longest shape, are left out and listed in `Plan.left_out`. A side of one
    token is its `EOS` alone. A corpus smaller than a batch is filled up with padding.

    Raises:
      ValueError: no example can be used.
    """


@dataclasses.dataclass(frozen=True)
class Grouped(Batching):
  """One example a row; examples of like length share a batch, so little is padding.

  Attributes:
    tokens: slots of a batch on each side, padding included.
    lengths: of the rows, one shape each: an example takes the smallest that holds its
      longer side; longer ones are left out.
    row_multiple: the rows of every shape are as many as `tokens` holds, rounded down to
      a multiple of this, so that they divide over devices and the result does not
      depend on how many there are; where `tokens` holds fewer, they are not rounded
      (fairseq's `required-batch-size-multiple`).
  """

  lengths: tuple[int, ...] = LENGTHS
  row_multiple: int = 8

  def __post_init__(self):
    ascending = tuple(sorted(set(self.lengths))) == self.lengths
    if not self.lengths or not ascending or self.lengths[0] < 1:
      raise ValueError(
        f"Grouped.lengths: expected ascending lengths from 1 up, got {self.lengths}"
      )
    _check_rows(self, self.lengths[-1])

  @property
  def shapes(self) -> tuple[Shape, ...]:
    return tuple(Shape(_rows(self, n), n, n) for n in self.lengths)

  def divisible(self, parts: int) -> "Grouped":
    return _divisible(self, parts, self.lengths[-1])

  def plan(
    self, lengths_n2: np.ndarray, seed: int, min_lengths: tuple[int, ...] = (2,)
  ) -> Plan:
    usable_n, left_out = usable(
      lengths_n2, min_lengths, self.lengths[-1], "batching.lengths"
    )
    kind_n = np.searchsorted(self.lengths, lengths_n2[usable_n].max(axis=1))
    rows, shapes = [], []
    for k, shape in enumerate(self.shapes):
      members = usable_n[kind_n == k]
      if len(members):
        rows.append(members[:, None])
        shapes.append(shape)
    return Plan(rows, shapes, seed, left_out)


@dataclasses.dataclass(frozen=True)
class Packed(Batching):
  """Several examples a row, one after another, until neither side of `length` slots
  has room; one shape. Attention does not cross from one example to another.

  Attributes:
    tokens: slots of a batch on each side, padding included.
    length: slots of a row on each side; longer examples are left out.
    row_multiple: as in `Grouped`.
  """

  length: Positive = 64
  row_multiple: int = 8

  def __post_init__(self):
    _check_rows(self, self.length)

  @property
  def shapes(self) -> tuple[Shape, ...]:
    return (Shape(_rows(self, self.length), self.length, self.length),)

  def divisible(self, parts: int) -> "Packed":
    return _divisible(self, parts, self.length)

  def plan(
    self, lengths_n2: np.ndarray, seed: int, min_lengths: tuple[int, ...] = (2,)
  ) -> Plan:
    usable_n, left_out = usable(lengths_n2, min_lengths, self.length, "batching.length")
    order = np.random.default_rng([seed]).permutation(usable_n)
    rows = pack(lengths_n2[order], self.length)
    rows[rows >= 0] = order[rows[rows >= 0]]
    return Plan([rows], list(self.shapes), seed, left_out)


@dataclasses.dataclass(frozen=True)
class Rows(Batching):
  """Examples that all have one shape, such as images: each is a row of one slot, so
  `tokens` is the number of examples in a batch. No length is too long.

  Attributes:
    tokens: examples of a batch.
  """

  tokens: int = 128

  def __post_init__(self):
    if self.tokens < 1:
      raise ValueError(f"Rows.tokens: {self.tokens} is less than 1")

  @property
  def shapes(self) -> tuple[Shape, ...]:
    return (Shape(self.tokens, 1, 1),)

  def divisible(self, parts: int) -> "Rows":
    return dataclasses.replace(self, tokens=-(-self.tokens // parts) * parts)

  def plan(
    self, lengths_n2: np.ndarray, seed: int, min_lengths: tuple[int, ...] = (2,)
  ) -> Plan:
    usable_n, left_out = usable(np.ones_like(lengths_n2), (1,), 1, "")
    return Plan([usable_n[:, None]], list(self.shapes), seed, left_out)


def _rows(recipe: Grouped | Packed, length: int) -> int:
  """Rows of `length` slots in a batch."""
  rows = recipe.tokens // length
  return rows // recipe.row_multiple * recipe.row_multiple or rows


def _divisible(recipe: R, parts: int, longest: int) -> R:
  multiple = math.lcm(recipe.row_multiple, parts)
  tokens = max(recipe.tokens, multiple * longest)
  return dataclasses.replace(recipe, tokens=tokens, row_multiple=multiple)


def _check_rows(recipe: Grouped | Packed, longest: int) -> None:
  if recipe.row_multiple < 1:
    raise ValueError(
      f"batching.row_multiple: expected 1 or more, got {recipe.row_multiple}"
    )
  if recipe.tokens < longest:
    raise ValueError(
      f"batching.tokens: {recipe.tokens} slots do not hold one row of {longest}"
    )
