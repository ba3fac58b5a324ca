"""Perplexity by memory: what does a model gain from remembering more of a text?

  python -m transformer.studies.perplexity_by_memory runs/a runs/b --output found

writes found.csv and found.png: the perplexity of each run's held-out texts, read
segment by segment with each length of memory (Dai et al. 2019, §4.3).
"""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt

from transformer.data.corpus import Corpus
from transformer.runs.run import Run
from transformer.studies.compare_runs import lines, names, parser, write
from transformer.studies.figures import UNITS, save
from transformer.tasks.segment_language_modelling import (
  SegmentLanguageModelling,
  segment_by_segment,
)

SIZES = (0, 16, 32, 64, 128, 256, 512)


class Row(NamedTuple):
  """One run's perplexity with a memory of so many tokens."""

  run: str
  memory: int
  perplexity: float
  tokens: int


def measure(paths: Sequence[Path], split: str, sizes: Sequence[int]) -> list[Row]:
  """The perplexity of runs by memory, each on the texts of its own data.

  Raises:
    FileNotFoundError, ValueError: a path is not a run with a memory, or a size is
      negative.
  """
  if min(sizes) < 0:
    raise ValueError(f"--memory: {min(sizes)} is negative")
  rows = []
  for name, path in zip(names(paths), paths, strict=True):
    run = Run.open(path)
    task = run.config.task
    if not isinstance(task, SegmentLanguageModelling):
      raise ValueError(f"{path}: its task is {type(task).__name__}, without a memory")
    module, params, data = run.module(), run.params(), run.config.data
    texts = Corpus.build(data, split, run.tokenizer, run.cache, progress=False)
    for size in sizes:
      loss = segment_by_segment(module, params, texts, task.context, size)
      perplexity = math.exp(float(loss.value))
      rows.append(Row(name, size, perplexity, int(loss.count)))
  return rows


def draw(file: Path, rows: Sequence[Row]) -> None:
  """Perplexity over memory, a line for each run, readable without colour."""
  figure, axis = plt.subplots(figsize=(5.2, 3.6), layout="constrained")
  lines(axis, rows, lambda row: row.memory, lambda row: row.perplexity)
  axis.set(xlabel="tokens remembered", ylabel=UNITS["perplexity"])
  axis.set_xscale("symlog", base=2, linthresh=8)
  axis.legend()
  save(figure, file)


def describe(row: Row) -> str:
  """A row as a line for the reader."""
  return f"{row.run}: memory {row.memory}: perplexity {row.perplexity:.3f}"


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
