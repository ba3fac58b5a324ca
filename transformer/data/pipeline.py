"""Plans to batches, through Grain's random access."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from etils import epy

from transformer.data.batching import Plan, Shape

with epy.lazy_imports():  # tasks name this module; only training reads through Grain
  import grain


class Examples(Protocol):
  """Examples with random access, which know how to make a batch of some of them."""

  @property
  def lengths_n2(self) -> np.ndarray:
    """The tokens of every example, `[n, 1]`, or `[n, 2]` for two sequences."""

  @property
  def min_lengths(self) -> tuple[int, ...]:
    """The fewest tokens with which either sequence is worth training on."""

  def __len__(self) -> int: ...

  def batch(self, shape: Shape, example_bm: np.ndarray) -> Any:
    """The arrays of the examples of these numbers, -1 for none; those of one row are
    packed."""


Own = Callable[[int], np.ndarray]
"""Which rows of a batch of so many this process feeds, `[rows]` of bool."""

Assemble = Callable[[int, Shape, np.ndarray], Any]
"""The arrays of a step's batch, from its shape and the numbers of its examples."""


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


def all_rows(rows: int) -> np.ndarray:
  """All rows of a batch: the share of a single process."""
  return np.ones(rows, bool)


def batches(
  examples: Examples, plan: Plan, start: int, stop: int, own: Own = all_rows
) -> Iterator[tuple[int, Any]]:
  """`(step, batch)` of examples whose batches are the same at every step; see
  `steps`."""
  return steps(
    lambda _, shape, example_bm: examples.batch(shape, example_bm),
    plan, start, stop, own,
  )  # fmt: skip


def steps(
  assemble: Assemble, plan: Plan, start: int, stop: int, own: Own = all_rows
) -> Iterator[tuple[int, Any]]:
  """`(step, batch)` from `start` up to `stop`, read ahead by a thread.

  A pure function of the step: starting later gives the tail of starting earlier. The
  rows for which `own(rows)` is False belong to other processes; they are not read and
  are padding.
  """
  if start >= stop:
    return iter(())
  source = grain.MapDataset.source(_Steps(assemble, plan, stop, own))
  chosen = source.slice(slice(start, stop))
  options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=8)
  return iter(chosen.to_iter_dataset(options))
