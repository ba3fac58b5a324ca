"""Which checkpoints of a run are kept."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Keep:
  """Which checkpoints are kept: the newest, one every so many steps, and the best.

  Attributes:
    latest: how many of the newest.
    every: those of steps that are its multiples are kept for good; 0 for none.
    best: how many of the best by the config's metric.
  """

  latest: int = 5
  every: int = 0
  best: int = 0

  def __post_init__(self):
    if self.latest < 1 or self.every < 0 or self.best < 0:
      raise ValueError(
        f"{self}: expected latest of 1 or more, every and best of 0 or more"
      )

  def kept(self, ranks: dict[int, float | None]) -> list[int]:
    """The steps that are kept, of those in `ranks`; a higher rank is better, of equal
    ones the earlier step; None is a step that was not evaluated."""
    steps = sorted(ranks)
    ranked = [(-rank, step) for step, rank in ranks.items() if rank is not None]
    kept = {*steps[-self.latest :], *(step for _, step in sorted(ranked)[: self.best])}
    kept |= {step for step in steps if self.every and step % self.every == 0}
    return sorted(kept)
