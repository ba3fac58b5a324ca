"""Perplexity by memory: what does a model gain from remembering more of a text?

  python -m transformer.studies.perplexity_by_memory runs/a runs/b --output found

writes found.csv and found.png: the perplexity of each run's held-out texts, read
segment by segment with each length of memory (Dai et al. 2019, §4.3). Every length
reads the same tokens. Runs that differ in nothing but their seed are one line.
"""

import dataclasses
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from transformer.data.corpus import Corpus
from transformer.experiment import Config
from transformer.runs.run import Run
from transformer.studies.compare_runs import lines, names, parser, write
from transformer.studies.figures import UNITS, legend_below, save
from transformer.studies.row_results import Summary, summarise
from transformer.tasks.segment_language_modelling import (
  SegmentLanguageModelling,
  segment_by_segment,
)

SIZES = (0, 16, 32, 64, 128, 256, 512)


class Row(NamedTuple):
  """The perplexity of one run with a memory of so many tokens.

  Attributes:
    row: the run and the memory.
    line: the first of the runs that differ in nothing but their seed.
    memory_length: the memory in training.
    tokens: those that are predicted.
  """

  row: str
  line: str
  seed: int
  memory_length: int
  memory: int
  perplexity: float
  tokens: int


class Point(NamedTuple):
  """The perplexity of a line with a memory, over its seeds.

  Attributes:
    run: the name of the line.
    change: the difference to the perplexity of the same seed with the memory of
      training; None where that was not measured.
  """

  run: str
  memory: int
  perplexity: Summary
  change: Summary | None


def measure(paths: Sequence[Path], split: str, sizes: Sequence[int]) -> list[Row]:
  """The perplexity of runs by memory, each on the texts of its own data.

  Raises:
    FileNotFoundError, ValueError: a path is not a run with a memory, or a size is
      negative.
  """
  if min(sizes) < 0:
    raise ValueError(f"--memory: {min(sizes)} is negative")
  line_of: dict[Config, str] = {}
  rows = []
  for name, path in zip(names(paths), paths, strict=True):
    run = Run.open(path)
    task, seed = run.config.task, run.config.seed
    if not isinstance(task, SegmentLanguageModelling):
      raise ValueError(f"{path}: its task is {type(task).__name__}, without a memory")
    module, params, data = run.module(), run.params(), run.config.data
    texts = Corpus.build(data, split, run.tokenizer, run.cache, progress=False)
    line = line_of.setdefault(dataclasses.replace(run.config, seed=0), name)
    for size in sizes:
      loss = segment_by_segment(module, params, texts, task.context, size)
      perplexity, tokens = math.exp(float(loss.value)), int(loss.count)
      row = f"{name}, memory {size}"
      rows.append(Row(row, line, seed, task.memory_length, size, perplexity, tokens))
  return rows


def points(rows: Sequence[Row]) -> list[Point]:
  """The lines of the figure: every run, or the mean over seeds."""
  trained = {
    (row.line, row.seed): row.perplexity
    for row in rows
    if row.memory == row.memory_length
  }
  of_seeds: dict[tuple[str, int], list[Row]] = {}
  for row in rows:
    of_seeds.setdefault((row.line, row.memory), []).append(row)
  found = []
  for (line, memory), group in of_seeds.items():
    changes = [
      row.perplexity - trained[line, row.seed]
      for row in group
      if (line, row.seed) in trained
    ]
    perplexity = summarise([row.perplexity for row in group])
    assert perplexity
    found.append(Point(label(rows, line), memory, perplexity, summarise(changes)))
  return found


def label(rows: Sequence[Row], line: str) -> str:
  """The name of a line in the figure."""
  seeds = len({row.seed for row in rows if row.line == line})
  return f"{line} and others, mean of {seeds} seeds" if seeds > 1 else line


def draw(file: Path, rows: Sequence[Row]) -> None:
  """Perplexity over memory, a line for each run or the mean and deviation of its seeds,
  and its change from half of the memory of training on; readable without colour. The
  memory of training is a vertical line."""
  figure, (whole, near) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
  trained = {label(rows, row.line): row.memory_length for row in rows}
  found = points(rows)
  draw_points(whole, found, [point.perplexity for point in found])
  whole.set(ylabel=UNITS["perplexity"])
  changed = [
    (point, point.change)
    for point in found
    if point.change and 2 * point.memory >= trained[point.run]
  ]
  draw_points(near, [point for point, _ in changed], [change for _, change in changed])
  near.set(ylabel="change against the memory of training")
  sizes = sorted({point.memory for point in found})
  for axis in (whole, near):
    axis.set(xlabel="tokens remembered", xlim=(sizes[0] - 1, 1.2 * sizes[-1] + 1))
    axis.set_xscale("symlog", base=2, linthresh=8)
    axis.set_xticks(sizes, labels=[str(size) for size in sizes])
    for memory_length in set(trained.values()):
      axis.axvline(
        memory_length, color="gray", linestyle=":", label="memory in training"
      )
  legend_below(figure, whole, 2)
  if changed:
    near.set_xlim(left=0.8 * min(point.memory for point, _ in changed))
  save(figure, file)


def draw_points(axis: Axes, found: Sequence[Point], values: Sequence[Summary]) -> None:
  """A value of each point over its memory, with the deviation over seeds."""
  value_of = {
    (point.run, point.memory): value for point, value in zip(found, values, strict=True)
  }
  lines(axis, found, lambda p: p.memory, lambda p: value_of[p.run, p.memory].mean)
  axis.errorbar(
    [point.memory for point in found], [value.mean for value in values],
    yerr=[value.deviation for value in values], fmt="none", ecolor="gray", capsize=3,
  )  # fmt: skip


def describe(row: Row) -> str:
  """A row as a line for the reader."""
  return f"{row.row}: perplexity {row.perplexity:.3f}"


def main(argv: list[str] | None = None) -> int:
  """Writes the table and the figure; the exit status."""
  flags = parser("perplexity_by_memory", __doc__)
  flags.add_argument("--memory", metavar="N", nargs="+", type=int, default=SIZES)
  arguments = flags.parse_args(argv)
  return write(
    arguments.output,
    lambda: measure(arguments.runs, arguments.split, arguments.memory),
    draw,
    describe,
  )


if __name__ == "__main__":
  sys.exit(main())
