"""The examples that no batch has: how many, why, and where the first of them is."""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class LeftOut:
  """The examples of a corpus that a plan leaves out.

  Attributes:
    short_n: the indices of those with a side that is too short, ascending.
    long_n: the indices of those with a side that is too long, ascending.
    limit: the most tokens of a side.
    setting: the name of that limit: `batching.lengths`.
  """

  short_n: np.ndarray
  long_n: np.ndarray
  limit: int
  setting: str

  def __len__(self) -> int:
    return len(self.short_n) + len(self.long_n)

  def reasons(self, short: str = "empty") -> Iterator[tuple[np.ndarray, str]]:
    """The indices of the examples left out for one reason, and the reason; `short` is
    that of the examples that are too short."""
    if len(self.short_n):
      yield self.short_n, short
    if len(self.long_n):
      yield self.long_n, f"longer than {self.limit:,} tokens ({self.setting})"

  def notes(self, kind: str, short: str, locate: Callable[[int], str]) -> list[str]:
    """A line for each reason, such as `7 pairs left out: longer than 48 tokens
    (batching.lengths), the first in line 812`.

    Args:
      kind: what the examples are called, in the plural.
      short: why an example that is too short is left out: `one side is empty`.
      locate: where the example of an index is, for the reader: `in line 812`.
    """
    return [
      f"{len(index_n):,} {kind.removesuffix('s') if len(index_n) == 1 else kind} left "
      f"out: {reason}{', the first' * (len(index_n) > 1)} {locate(int(index_n[0]))}"
      for index_n, reason in self.reasons(short)
    ]


def usable(
  lengths_n2: np.ndarray, min_lengths: tuple[int, ...], limit: int, setting: str
) -> tuple[np.ndarray, LeftOut]:
  """The indices of the examples whose sides have `min_lengths` to `limit` tokens, and
  the other examples. `min_lengths` has one for each side, or one for all.

  Raises:
    ValueError: no example is usable.
  """
  short_n = (lengths_n2 < np.array([min_lengths])).any(axis=1)
  long_n = ~short_n & (lengths_n2.max(axis=1) > limit)
  left_out = LeftOut(np.flatnonzero(short_n), np.flatnonzero(long_n), limit, setting)
  if len(left_out) == len(lengths_n2):
    reasons = [
      f"{len(index_n):,} are {reason}" for index_n, reason in left_out.reasons()
    ]
    raise ValueError(
      f"--config.data: none of the {len(lengths_n2):,} training examples can be used"
      f"{': ' * bool(reasons)}{', '.join(reasons)}"
    )
  return np.flatnonzero(~short_n & ~long_n), left_out
