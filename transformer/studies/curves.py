"""The curves of a run for a page: what its metrics.csv holds, thinned."""

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformer.runs.metrics import Metrics
from transformer.runs.progress import Spent
from transformer.studies.figures import UNITS
from transformer.tasks.base import Task

CLOCKS = {f"train/{name}": name for name in Spent._fields}
"""Metrics that are axes: what training has taken, by their names in metrics.csv."""

VALUES = 100_000
"""Points of all curves of a page together; about fifteen bytes each."""

Curve = tuple[list[int], list[float | None]]


LABELS = {
  "train/loss": ("training loss", "nats per target"),
  "train/rate": ("learning rate", ""),
  "train/gradient_norm": ("gradient norm", "L2 norm, before clipping"),
  "train/tokens_per_second": ("speed", "target tokens a second"),
  "train/skipped": ("skipped updates", "updates without a finite loss or gradient"),
}
"""Title and unit of what training records."""

NAMES = {"bleu": "BLEU", "chrf": "chrF"}
"""Scores whose names are written otherwise."""


def read_curves(
  paths: Sequence[Path], scores: Collection[str] = ()
) -> list[dict[str, Any]]:
  """The curves of each run: `series` and `clocks`, each name's steps and values.

  Values that are not finite are None. What says nothing is no curve, and its newest
  value is among the run's `constants`: a metric that always has one value, in all runs,
  and a number beside the scores, as of sentences, that has one in each run. `scores`
  are the names of the held-out scores.
  """
  found = [read_series(path) for path in paths]
  flat = constants(found, scores)
  count = sum(map(len, found)) or 1
  limit = max(16, min(600, VALUES // count))
  records = []
  for series in found:
    drawn = {n: c for n, c in series.items() if n not in CLOCKS and n not in flat}
    records.append({
      "series": {name: rounded(thin(*curve, limit)) for name, curve in drawn.items()},
      "clocks": {
        clock: rounded(sample(*series[name], limit), 7)
        for name, clock in CLOCKS.items()
        if name in series
      },
      "constants": {name: series[name][1][-1] for name in series if name in flat},
    })  # fmt: skip
  return records


def read_series(path: Path) -> dict[str, Curve]:
  """Every metric of a run by its name, as steps and values; of a step that was written
  twice, the later value."""
  rows: dict[str, dict[int, float]] = {}
  for step, name, value in Metrics.read(path):
    rows.setdefault(name, {})[step] = value
  return {
    name: (
      steps := sorted(values),
      [values[step] if math.isfinite(values[step]) else None for step in steps],
    )
    for name, values in rows.items()
  }


def constants(runs: Sequence[dict[str, Curve]], scores: Collection[str]) -> set[str]:
  """The names of the metrics that are no curves, as `read_curves` says."""
  found = set()
  for name in {name for series in runs for name in series if name not in CLOCKS}:
    curves = [set(series[name][1]) for series in runs if name in series]
    points = sum(len(series[name][1]) for series in runs if name in series)
    one_value = points > 1 and len(set().union(*curves)) == 1
    beside = name.startswith("val/") and name not in scores
    if one_value or (beside and all(len(values) == 1 for values in curves)):
      found.add(name)
  return found


def thin(steps: list[int], values: list[float | None], limit: int) -> Curve:
  """At most about `limit` points of a curve: its first and last, and the least and the
  largest value of each stretch between, so that no spike is lost. A gap stays one."""
  count = len(steps)
  if count <= limit:
    return steps, values
  stretches = max(1, (limit - 2) // 2)
  kept = {0, count - 1}
  for number in range(stretches):
    stretch = range(number * count // stretches, (number + 1) * count // stretches)
    gaps = [i for i in stretch if values[i] is None]
    kept.update(gaps[:1])
    finite = [(value, i) for i in stretch if (value := values[i]) is not None]
    if finite:
      kept |= {min(finite)[1], max(finite)[1]}
  order = sorted(kept)
  return [steps[i] for i in order], [values[i] for i in order]


def sample(steps: list[int], values: list[float | None], limit: int) -> Curve:
  """At most about `limit` points of a curve at equal distances, the last one included:
  of a clock, which has no spikes."""
  stride = -(-len(steps) // limit)
  kept = sorted({*range(0, len(steps), stride), len(steps) - 1})
  return [steps[i] for i in kept], [values[i] for i in kept]


def rounded(curve: Curve, digits: int = 5) -> Curve:
  """With values of so many significant digits."""
  steps, values = curve
  return steps, [
    None if value is None else float(f"{value:.{digits}g}") for value in values
  ]


def directions(tasks: Sequence[Task]) -> dict[str, bool]:
  """Whether less of a score is better, for the loss and the scores of all tasks."""
  scores = {metric for task in tasks for metric in task.scores}
  return {"train/loss": True} | {f"val/{m.name}": m.lower_is_better for m in scores}


def describe_metrics(
  lower: Mapping[str, bool], curves: Sequence[dict[str, Any]]
) -> dict[str, dict[str, Any]]:
  """Title, unit and direction of every metric that has a curve, training's first."""
  names = dict.fromkeys(name for each in curves for name in each["series"])
  described = {}
  for name in sorted(names, key=lambda name: not name.startswith("train/")):
    score = name.rpartition("/")[2]
    plain = NAMES.get(score, score.replace("_", " "))
    unit = UNITS.get(score, plain)
    title, unit = LABELS.get(name, (f"held-out {plain}", unit))
    unit = "" if unit == plain else unit
    described[name] = {"title": title, "unit": unit, "lower": lower.get(name)}
  return described
