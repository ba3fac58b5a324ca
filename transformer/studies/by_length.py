"""Score by length of the source: which systems lose what is far away?

  python -m transformer.studies.by_length runs/a runs/b --output by_length

writes by_length.csv and by_length.png: chrF (Popović 2015) and exact match of each
run's greedy outputs on the held-out texts of the first run's data, by source tokens.
"""

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from transformer.platform import compilation_cache
from transformer.run import Run
from transformer.tasks.search import Search
from transformer.tasks.translation import text_scores
from transformer.translator import Translator


class Row(NamedTuple):
  """One run's scores on texts of `shortest` to `longest` source tokens."""

  run: str
  shortest: int
  longest: int
  sentences: int
  exact_match: float
  chrf: float


def bins(sizes: np.ndarray, count: int) -> list[np.ndarray]:
  """Indices of texts in at most `count` groups of like length and near equal number;
  texts of one length stay together."""
  edges = np.unique(np.quantile(sizes, np.linspace(0, 1, count + 1), method="higher"))
  place = np.searchsorted(edges[1:-1], sizes, side="left")
  groups = (np.flatnonzero(place == i) for i in range(len(edges)))
  return [group for group in groups if len(group)]


def study(paths: Sequence[Path], split: str, count: int) -> list[Row]:
  """The scores of runs by length, on one data set.

  Raises:
    FileNotFoundError, ValueError: a path is no run that translates.
  """
  first = Run.open(paths[0])
  pairs = first.config.data.open(split)
  sources = [pairs[i].source for i in range(len(pairs))]
  references = [pairs[i].target for i in range(len(pairs))]
  sizes = np.array([len(ids) for ids in first.tokenizer.encode(sources)])
  rows = []
  for path in paths:
    outputs = Translator.open(path, Search(beam=1)).translate(sources)
    for group in bins(sizes, count):
      scores = text_scores([outputs[i] for i in group], [references[i] for i in group])
      rows.append(
        Row(
          path.name, int(sizes[group].min()), int(sizes[group].max()), len(group),
          float(scores["exact_match"]), float(scores["chrf"]),
        )
      )  # fmt: skip
  return rows


def draw(file: Path, rows: Sequence[Row]) -> None:
  """Both scores over length, a line for each run, readable without colour."""
  figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
  names = list(dict.fromkeys(row.run for row in rows))
  styles = ("-o", "--s", ":^", "-.v")
  for axis, field in zip(axes, ("exact_match", "chrf"), strict=True):
    for i, name in enumerate(names):
      own = [row for row in rows if row.run == name]
      middle = [(row.shortest + row.longest) / 2 for row in own]
      values = [getattr(row, field) for row in own]
      axis.plot(middle, values, styles[i % len(styles)], label=name)
    axis.set(title=field.replace("_", " "), xlabel="source tokens", ylim=(0, None))
    axis.grid(alpha=0.3)
    axis.legend()
  figure.savefig(file, dpi=110)
  plt.close(figure)


def main(argv: list[str] | None = None) -> int:
  """Writes the table and the figure; an error of the user's is one line, status 1."""
  parser = argparse.ArgumentParser(prog="by_length", description=__doc__)
  parser.add_argument("runs", metavar="RUN", nargs="+", type=Path)
  parser.add_argument("--output", type=Path, default=Path("by_length"))
  parser.add_argument("--split", default="test", help="train, val or test (default)")
  parser.add_argument(
    "--bins", type=int, default=6, help="groups by length (default 6)"
  )
  arguments = parser.parse_args(argv)
  compilation_cache()
  try:
    if arguments.bins < 1:
      raise ValueError(f"--bins: {arguments.bins} is less than 1")
    rows = study(arguments.runs, arguments.split, arguments.bins)
    draw(arguments.output.with_suffix(".png"), rows)
    with arguments.output.with_suffix(".csv").open("w", newline="") as out:
      csv.writer(out).writerows([Row._fields, *rows])
  except (ValueError, OSError) as error:
    print(f"error: {error}", file=sys.stderr)
    return 1
  for row in rows:
    print(
      f"{row.run}: {row.shortest} to {row.longest} tokens, {row.sentences} sentences: "
      f"exact match {row.exact_match:.3f}, chrF {row.chrf:.1f}"
    )
  return 0


if __name__ == "__main__":
  sys.exit(main())
