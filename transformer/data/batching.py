"""Which examples share a batch: plans that are pure functions of the step."""

import abc
import dataclasses
import functools
from typing import NamedTuple

import numpy as np

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
    dropped: int,
  ):
    """`rows[k]` is `[n, m]`: the examples of each row of `shapes[k]`, -1 for none."""
    self.shapes, self.seed, self.dropped = tuple(shapes), seed, dropped
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
  def plan(
    self, lengths_n2: np.ndarray, seed: int, min_lengths: tuple[int, ...] = (2,)
  ) -> Plan:
    """A plan over examples of these source and target lengths.

    Examples shorter than `min_lengths`, one for each side or one for all, or longer
    than the longest shape, are left out and counted in `Plan.dropped`. A side of one
    token is its `EOS` alone.

    Raises:
      ValueError: there are fewer examples than rows in one batch.
    """


@dataclasses.dataclass(frozen=True)
class Grouped(Batching):
  """One example a row; examples of like length share a batch, so little is padding.

  Attributes:
    tokens: slots of a batch on each side, padding included.
    lengths: of the rows, one shape each: an example takes the smallest that holds its
      longer side; longer ones are left out.
  """

  lengths: tuple[int, ...] = LENGTHS

  def __post_init__(self):
    if not self.lengths or tuple(sorted(set(self.lengths))) != self.lengths:
      raise ValueError(f"Grouped.lengths: {self.lengths} is not ascending")
    if self.tokens < self.lengths[-1]:
      raise ValueError(
        f"Grouped.tokens: {self.tokens} slots do not hold one row of {self.lengths[-1]}"
      )

  @property
  def shapes(self) -> tuple[Shape, ...]:
    return tuple(Shape(self.tokens // n, n, n) for n in self.lengths)

  def plan(
    self, lengths_n2: np.ndarray, seed: int, min_lengths: tuple[int, ...] = (2,)
  ) -> Plan:
    usable, longest = _usable(lengths_n2, min_lengths, self.lengths[-1])
    kind = np.searchsorted(self.lengths, longest[usable])
    rows, shapes = [], []
    for k, shape in enumerate(self.shapes):
      members = usable[kind == k]
      if len(members):
        rows.append(members[:, None])
        shapes.append(shape)
    _enough(len(usable), min((s.rows for s in shapes), default=1), lengths_n2, self)
    return Plan(rows, shapes, seed, len(lengths_n2) - len(usable))


@dataclasses.dataclass(frozen=True)
class Packed(Batching):
  """Several examples a row, one after another, until neither side of `length` slots
  has room; one shape. Attention does not cross from one example to another.

  Attributes:
    tokens: slots of a batch on each side, padding included.
    length: slots of a row on each side; longer examples are left out.
  """

  length: int = 64

  def __post_init__(self):
    if self.tokens < self.length:
      raise ValueError(
        f"Packed.tokens: {self.tokens} slots do not hold one row of {self.length}"
      )

  @property
  def shapes(self) -> tuple[Shape, ...]:
    return (Shape(self.tokens // self.length, self.length, self.length),)

  def plan(
    self, lengths_n2: np.ndarray, seed: int, min_lengths: tuple[int, ...] = (2,)
  ) -> Plan:
    usable, _ = _usable(lengths_n2, min_lengths, self.length)
    (shape,) = self.shapes
    _enough(len(usable), shape.rows, lengths_n2, self)
    order = np.random.default_rng([seed]).permutation(usable)
    packed = pack(lengths_n2[order], self.length)
    rows = np.where(packed >= 0, order[packed], -1)
    return Plan([rows], [shape], seed, len(lengths_n2) - len(usable))


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

  def plan(
    self, lengths_n2: np.ndarray, seed: int, min_lengths: tuple[int, ...] = (2,)
  ) -> Plan:
    _enough(len(lengths_n2), self.tokens, lengths_n2, self)
    return Plan([np.arange(len(lengths_n2))[:, None]], list(self.shapes), seed, 0)


def pack(lengths_n2: np.ndarray, length: int, open_rows: int = 64) -> np.ndarray:
  """First fit over a window of open rows (Johnson 1974, bounded space).

  Returns:
    `[rows, m]`: the examples of every row in order, -1 for none.
  """
  room = np.full((open_rows, lengths_n2.shape[1]), length, np.int64)
  held: list[list[int]] = [[] for _ in range(open_rows)]
  done: list[list[int]] = []
  for i, need in enumerate(lengths_n2):
    fits = np.flatnonzero((room >= need).all(axis=1))
    if len(fits):
      slot = fits[0]
    else:
      slot = int(np.argmin(room.sum(axis=1)))
      done.append(held[slot])
      held[slot], room[slot] = [], length
    held[slot].append(i)
    room[slot] -= need
  done += [row for row in held if row]
  rows = np.full((len(done), max(map(len, done), default=1)), -1, np.int64)
  for row, members in zip(rows, done, strict=True):
    row[: len(members)] = members
  return rows


def _usable(
  lengths_n2: np.ndarray, min_lengths: tuple[int, ...], max_length: int
) -> tuple[np.ndarray, np.ndarray]:
  longest = lengths_n2.max(axis=1, initial=0)
  long_enough = (lengths_n2 >= np.array([min_lengths])).all(axis=1)
  return np.flatnonzero(long_enough & (longest <= max_length)), longest


def _enough(usable: int, rows: int, lengths_n2, recipe: Batching) -> None:
  if usable < rows:
    raise ValueError(
      f"--config.batching: the corpus has {usable:,} usable examples (of "
      f"{len(lengths_n2):,}), less than one batch of {rows:,} rows; lower "
      f"--config.batching.tokens from {recipe.tokens:,}"
    )
