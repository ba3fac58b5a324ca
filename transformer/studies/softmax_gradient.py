"""The gradient that attention's softmax lets through, while a run trains (§3.2.1).

  python -m transformer.studies.softmax_gradient runs/a runs/b --output found

writes found.csv and found.png: of the first held-out texts, for every checkpoint that
each run has, the largest entry of the Jacobian of each softmax. It is at most 1/4, with
two keys of half the weight, and near 0 where one key has all of it.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np

from transformer.inference.search import Search
from transformer.inspection.heads import attentions
from transformer.inspection.inputs import Opened
from transformer.runs.run import Run
from transformer.studies.compare_runs import lines, names, parser, write
from transformer.studies.figures import legend_below, save


class Row(NamedTuple):
  """The largest gradients in one checkpoint, over texts, layers, heads and queries.

  Attributes:
    row: the run and the checkpoint.
    run: the run.
    step: the checkpoint's.
    mean, median: of the largest gradients.
    blocked: the share of them below 0.001.
  """

  row: str
  run: str
  step: int
  mean: float
  median: float
  blocked: float


def largest(weights_ts: np.ndarray) -> np.ndarray:
  """The largest entry of the Jacobian of a softmax, `p_i (1[i = j] - p_j)`, by absolute
  value, `[..., t]`: it is on the diagonal, for other keys have no more than 1 - p_i."""
  return (weights_ts * (1.0 - weights_ts)).max(axis=-1)


def measure(paths: Sequence[Path], split: str) -> list[Row]:
  """The gradients of runs by checkpoint, each on the texts of its own data.

  Raises:
    FileNotFoundError, ValueError: a path is not a run with checkpoints, its model has
      no attention, or its data are not texts.
  """
  rows = []
  for name, path in zip(names(paths), paths, strict=True):
    run = Run.open(path)
    if not run.steps():
      raise FileNotFoundError(f"{path}: no checkpoint yet; train it first")
    for step in run.steps():
      opened = Opened.with_search(run, run.params(step), Search())
      found = [
        largest(each.weights_lhts).ravel()
        for attention in attentions(opened, split)
        for each in attention.maps
      ]
      if not found:
        raise ValueError(f"{path}: the data of its split {split} are not texts")
      all_n = np.concatenate(found)
      mean, median = float(all_n.mean()), float(np.median(all_n))
      blocked = float(np.mean(all_n < 1e-3))
      rows.append(Row(f"{name}, step {step}", name, step, mean, median, blocked))
  return rows


def draw(file: Path, rows: Sequence[Row]) -> None:
  """Mean and blocked share over updates, a line for each run, readable without
  colour."""
  figure, axes = plt.subplots(1, 2, figsize=(8.2, 5), layout="constrained")
  for axis, field, label in zip(
    axes,
    ("mean", "blocked"),
    ("largest |∂ softmax / ∂ score|, mean", "share of queries with less than 0.001"),
    strict=True,
  ):
    lines(
      axis, rows, lambda row: row.step, lambda row, field=field: getattr(row, field)
    )
    axis.set(xlabel="updates", ylabel=label)
  legend_below(figure, axes[0], 3)
  save(figure, file)


def describe(row: Row) -> str:
  """A row as a line for the reader."""
  return (
    f"{row.row}: mean {row.mean:.4f}, median {row.median:.4f}, below 0.001 "
    f"{row.blocked:.3f}"
  )


def main(argv: list[str] | None = None) -> int:
  """Writes the table and the figure; the exit status."""
  arguments = parser("softmax_gradient", __doc__).parse_args(argv)
  return write(
    arguments.output, lambda: measure(arguments.runs, arguments.split), draw, describe
  )


if __name__ == "__main__":
  sys.exit(main())
