"""Plans to batches, through Grain's random access."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import grain
import numpy as np

from transformer.batch import Pairs, Tokens
from transformer.data.batching import Grouped, Plan, Shape


class Examples(Protocol):
  """Examples with random access: the ids of each of their `sides`, and how many they
  are, `[n, sides]`."""

  sides: int

  @property
  def lengths_n2(self) -> np.ndarray: ...

  def __len__(self) -> int: ...

  def __getitem__(self, i: int, /) -> tuple[np.ndarray, ...]: ...


Own = Callable[[int], np.ndarray]
"""Which rows of a batch of so many this process feeds, `[rows]` of bool."""


def assemble(corpus: Examples, shape: Shape, rows: np.ndarray) -> Pairs | Tokens:
  """The arrays of a batch from its examples, `[rows, m]` with -1 for none: `Pairs`, or
  of examples with one side `Tokens`."""
  sizes = shape[1 : 1 + corpus.sides]
  sides = [np.zeros((3, shape.rows, size), np.int32) for size in sizes]
  for row, members in enumerate(rows):
    used = [0] * len(sides)
    for segment, example in enumerate(members[members >= 0], start=1):
      for side, ids in enumerate(corpus[example]):
        span = slice(used[side], used[side] + len(ids))
        sides[side][0, row, span] = ids
        sides[side][1, row, span] = np.arange(len(ids))
        sides[side][2, row, span] = segment
        used[side] = span.stop
  tokens = [Tokens(*side) for side in sides]
  return Pairs(*tokens) if len(tokens) == 2 else tokens[0]


Assemble = Callable[[int, Shape, np.ndarray], Any]
"""The arrays of a step's batch, from its shape and its examples as in `assemble`."""


class _Steps(Sequence):
  def __init__(self, assemble: Assemble, plan: Plan, stop: int, own: Own):
    self._assemble, self._plan, self._stop, self._own = assemble, plan, stop, own

  def __len__(self) -> int:
    return self._stop

  def __getitem__(self, step):
    step = int(step)
    shape, rows = self._plan.batch(step)
    rows = np.where(self._own(shape.rows)[:, None], rows, -1)
    return step, self._assemble(step, shape, rows)


def everything(rows: int) -> np.ndarray:
  """All rows of a batch: the share of a single process."""
  return np.ones(rows, bool)


def batches(
  corpus: Examples, plan: Plan, start: int, stop: int, own: Own = everything
) -> Iterator[tuple[int, Any]]:
  """`(step, batch)` of a corpus; see `steps`."""
  return steps(
    lambda _, shape, rows: assemble(corpus, shape, rows), plan, start, stop, own
  )


def steps(
  assemble: Assemble, plan: Plan, start: int, stop: int, own: Own = everything
) -> Iterator[tuple[int, Any]]:
  """`(step, batch)` from `start` up to `stop`, read ahead by a thread.

  A pure function of the step: starting later gives the tail of starting earlier. The
  rows that `own(rows)` does not name belong to other processes; they are not read and
  stay empty.
  """
  if start >= stop:
    return iter(())
  source = grain.MapDataset.source(_Steps(assemble, plan, stop, own))
  chosen = source.slice(slice(start, stop))
  options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=8)
  return iter(chosen.to_iter_dataset(options))


def evaluation_batches(corpus: Examples, batching: Grouped) -> Iterator[Any]:
  """Every example once, in no random order; a text longer than the batching's longest
  shape gets a shape of its own, a multiple of 64."""
  lengths_n2 = corpus.lengths_n2
  longest = lengths_n2.max(axis=1, initial=0)
  sizes = batching.lengths
  place = np.searchsorted(sizes, longest)
  beyond = -(-longest // 64) * 64
  sizes = np.where(place < len(sizes), np.append(sizes, 0)[place], beyond)
  for size in np.unique(sizes):
    members = np.flatnonzero(sizes == size)
    rows = max(1, batching.tokens // int(size))
    for start in range(0, len(members), rows):
      chosen = np.full((rows, 1), -1, np.int64)
      part = members[start : start + rows]
      chosen[: len(part), 0] = part
      yield assemble(corpus, Shape(rows, int(size), int(size)), chosen)


def fill(plan: Plan, lengths_n2: np.ndarray) -> float:
  """The share of an epoch's slots that hold real tokens."""
  slots = real = 0
  for place in range(plan.batches):
    shape, rows = plan.batch(place)
    slots += shape.rows * sum(shape[1 : 1 + lengths_n2.shape[1]])
    real += int(lengths_n2[rows[rows >= 0]].sum())
  return real / slots
