"""Perplexity by memory: what does a model gain that remembers more of a text?

  python -m transformer.studies.by_memory runs/a runs/b --output by_memory

writes by_memory.csv and by_memory.png: the perplexity of each run's held-out texts,
read segment by segment with each length of memory (Dai et al. 2019, §4.3).
"""

import argparse
import csv
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from transformer.data.corpus import Corpus
from transformer.platform import compilation_cache
from transformer.run import Run
from transformer.tasks.segments import SegmentModelling, read_through

SIZES = (0, 16, 32, 64, 128, 256, 512)


class Row(NamedTuple):
  """One run's perplexity with a memory of so many tokens."""

  run: str
  memory: int
  perplexity: float
  tokens: int


def study(paths: Sequence[Path], split: str, sizes: Sequence[int]) -> list[Row]:
  """The perplexity of runs by memory, each on the texts of its own data.

  Raises:
    FileNotFoundError, ValueError: a path is no run with a memory.
  """
  rows = []
  for path in paths:
    run = Run.open(path)
    task = run.config.task
    if not isinstance(task, SegmentModelling):
      raise ValueError(f"{path}: its task is {type(task).__name__}, without a memory")
    module, params, data = run.module(), run.params(), run.config.data
    texts = Corpus.build(data, split, run.tokenizer, run.cache, progress=False)
    for size in sizes:
      loss = read_through(module, params, texts, task.context, size)
      perplexity = math.exp(float(loss.value))
      rows.append(Row(path.name, size, perplexity, int(loss.count)))
  return rows


def draw(file: Path, rows: Sequence[Row]) -> None:
  """Perplexity over memory, a line for each run, readable without colour."""
  figure, axis = plt.subplots(figsize=(5.2, 3.6), layout="constrained")
  styles = ("-o", "--s", ":^", "-.v")
  for i, name in enumerate(dict.fromkeys(row.run for row in rows)):
    own = [row for row in rows if row.run == name]
    sizes, values = [row.memory for row in own], [row.perplexity for row in own]
    axis.plot(sizes, values, styles[i % len(styles)], label=name)
  axis.set(xlabel="tokens remembered", ylabel="perplexity")
  axis.set_xscale("symlog", base=2, linthresh=8)
  axis.grid(alpha=0.3)
  axis.legend()
  figure.savefig(file, dpi=110)
  plt.close(figure)


def main(argv: list[str] | None = None) -> int:
  """Writes the table and the figure; an error of the user's is one line, status 1."""
  parser = argparse.ArgumentParser(prog="by_memory", description=__doc__)
  parser.add_argument("runs", metavar="RUN", nargs="+", type=Path)
  parser.add_argument("--output", type=Path, default=Path("by_memory"))
  parser.add_argument("--split", default="test", help="train, val or test (default)")
  parser.add_argument("--memory", metavar="N", nargs="+", type=int, default=SIZES)
  arguments = parser.parse_args(argv)
  compilation_cache()
  try:
    if min(arguments.memory) < 0:
      raise ValueError(f"--memory: {min(arguments.memory)} is negative")
    rows = study(arguments.runs, arguments.split, arguments.memory)
    draw(arguments.output.with_suffix(".png"), rows)
    with arguments.output.with_suffix(".csv").open("w", newline="") as out:
      csv.writer(out).writerows([Row._fields, *rows])
  except (ValueError, OSError) as error:
    print(f"error: {error}", file=sys.stderr)
    return 1
  for row in rows:
    print(f"{row.run}: memory {row.memory}: perplexity {row.perplexity:.3f}")
  return 0


if __name__ == "__main__":
  sys.exit(main())
