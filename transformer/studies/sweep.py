"""Trials of settings before a row is trained: a grid, of which the best is chosen on
the validation split."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformer import config as configs
from transformer.experiment import Config
from transformer.runs.directory import write_atomic
from transformer.runs.metrics import Metrics
from transformer.studies.fields import check_fields
from transformer.studies.result import fingerprint
from transformer.studies.rows import HeldOut, Row, grid

NAME = "trial.json"


@dataclasses.dataclass(frozen=True)
class Sweep:
  """Every row is tried at each point of a grid, and trained at its best one.

  Each row has the same number of trials. The best is the one with the best held-out
  score at the end of its training, on the split val. Trials have a seed of their own,
  so that the scores that the study reports, of its seeds, had no part in the choice.

  Attributes:
    settings: the values of each setting, by its dotted path; none for no trials.
    metric: the held-out score to choose by; that of the config where it is empty.
    seed: the seed of the trials.
    share: the part of a row's updates that a trial is trained for; schedules that
      follow the steps end with them.
  """

  settings: Mapping[str, Sequence[Any]] = dataclasses.field(default_factory=dict)
  metric: str = ""
  seed: int = 1000
  share: float = 1.0

  def __post_init__(self):
    check_fields(self)
    for name, values in self.settings.items():
      if not values:
        raise ValueError(f"sweep.settings: {name} has no value to try")
    if not 0 < self.share <= 1:
      raise ValueError(f"sweep.share: expected 0 < share <= 1, got {self.share:g}")

  def shorten(self, config: Config) -> Config:
    """A row's experiment with the seed and the length of a trial."""
    steps = max(1, round(config.steps * self.share))
    return dataclasses.replace(config, seed=self.seed, steps=steps)

  @property
  def points(self) -> tuple[Row, ...]:
    """The changes of each trial; none without settings."""
    return grid(self.settings) if self.settings else ()

  def metric_of(self, config: Config) -> str:
    """The name of the score to choose by."""
    return self.metric or config.metric


SCORED_ON = (HeldOut(),)
"""What the score of a trial is of."""


@dataclasses.dataclass(frozen=True)
class Trial:
  """One trial of a row.

  Attributes:
    fingerprint: digest of the experiment and its texts.
    score: held-out, at the end; None if it diverged.
    failed: how it did, in a line.
  """

  fingerprint: str
  score: float | None
  failed: str = ""

  def __post_init__(self):
    check_fields(self)

  def write(self, path: Path) -> None:
    """Writes it into its run."""
    write_atomic(path / NAME, json.dumps(dataclasses.asdict(self)).encode())

  @classmethod
  def read(cls, path: Path, config: Config) -> "Trial | None":
    """That of a run, if it is there and of just this experiment on just these texts."""
    try:
      found = cls(**configs.parse_json((path / NAME).read_bytes()))
    except (OSError, ValueError, TypeError):
      return None
    return found if found.fingerprint == fingerprint(config, SCORED_ON) else None

  @classmethod
  def of_run(cls, path: Path, config: Config, metric: str) -> "Trial":
    """That of a run that has just been trained.

    Raises:
      ValueError: it has no such score.
    """
    scores = [v for _, name, v in Metrics.read(path) if name == f"val/{metric}"]
    if not scores:
      raise ValueError(
        f"{path}: metrics.csv has no val/{metric}; delete the run to train it again"
      )
    if not math.isfinite(scores[-1]):
      return cls(fingerprint(config, SCORED_ON), None, f"{metric} is {scores[-1]}")
    return cls(fingerprint(config, SCORED_ON), scores[-1])


def best(trials: Sequence[Trial], config: Config, metric: str) -> int:
  """The number of the best trial; of equal ones, the first.

  Raises:
    ValueError: all have failed.
  """
  rank = config.task.metric(metric).rank
  ranks = [-math.inf if t.score is None else rank(t.score) for t in trials]
  if all(each == -math.inf for each in ranks):
    raise ValueError(f"every trial failed; the first: {trials[0].failed}")
  return ranks.index(max(ranks))
