"""Score by length of the source: which systems lose track of what is far away?

  python -m transformer.studies.score_by_length runs/a runs/b --output score_by_length

writes score_by_length.csv and score_by_length.png: chrF (Popović 2015) and exact match
of each run's greedy outputs on the held-out texts of the first run's data, by source
tokens.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np

from transformer.inference.search import Search
from transformer.runs.opening import open_run
from transformer.runs.translator import Translator
from transformer.studies.compare_runs import lines, names, parser, write
from transformer.studies.figures import UNITS, save
from transformer.tasks.text_scores import text_scores
from transformer.tasks.translation import Translation


class Row(NamedTuple):
  """One run's scores on texts of `shortest` to `longest` source tokens."""

  run: str
  shortest: int
  longest: int
  sentences: int
  exact_match: float
  chrf: float


def bins(sizes: np.ndarray, count: int) -> list[np.ndarray]:
  """Indices of texts in at most `count` groups of similar length and nearly equal
  number; texts of the same length are in the same group."""
  edges = np.unique(np.quantile(sizes, np.linspace(0, 1, count + 1), method="higher"))
  bin_of_text = np.searchsorted(edges[1:-1], sizes, side="left")
  groups = (np.flatnonzero(bin_of_text == i) for i in range(len(edges)))
  return [group for group in groups if len(group)]


def measure(paths: Sequence[Path], split: str, count: int) -> list[Row]:
  """The scores of runs by length, on one data set.

  Raises:
    FileNotFoundError, ValueError: a path is not a run that translates, or there are no
      bins.
  """
  if count < 1:
    raise ValueError(f"--bins: {count} is less than 1")
  first, _ = open_run(paths[0], Translation)
  pairs = first.config.data.open(split)
  sources = [pairs[i].source for i in range(len(pairs))]
  references = [pairs[i].target for i in range(len(pairs))]
  sizes = np.array([len(ids) for ids in first.tokenizer.encode_sources(sources)])
  rows = []
  for name, path in zip(names(paths), paths, strict=True):
    outputs = Translator.open(path, Search(beam=1)).translate(sources)
    for group in bins(sizes, count):
      scores = text_scores([outputs[i] for i in group], [references[i] for i in group])
      rows.append(
        Row(
          name, int(sizes[group].min()), int(sizes[group].max()), len(group),
          float(scores["exact_match"]), float(scores["chrf"]),
        )
      )  # fmt: skip
  return rows


def draw(file: Path, rows: Sequence[Row]) -> None:
  """Both scores over length, a line for each run, readable without colour."""
  figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
  for axis, field in zip(axes, ("exact_match", "chrf"), strict=True):
    lines(
      axis, rows, lambda row: (row.shortest + row.longest) / 2,
      lambda row, field=field: getattr(row, field),
    )  # fmt: skip
    axis.set(ylabel=UNITS[field], xlabel="source tokens", ylim=(0, None))
  handles, labels = axes[0].get_legend_handles_labels()
  figure.legend(handles, labels, loc="outside lower center", ncols=2)
  save(figure, file)


def describe(row: Row) -> str:
  """A row as a line for the reader."""
  return (
    f"{row.run}: {row.shortest} to {row.longest} tokens, {row.sentences} sentences: "
    f"exact match {row.exact_match:.3f}, chrF {row.chrf:.1f}"
  )


def main(argv: list[str] | None = None) -> int:
  """Writes the table and the figure; the exit status."""
  flags = parser("score_by_length", __doc__)
  flags.add_argument("--bins", type=int, default=6, help="groups by length (default 6)")
  arguments = flags.parse_args(argv)
  return write(
    arguments.output,
    lambda: measure(arguments.runs, arguments.split, arguments.bins),
    draw,
    describe,
  )


if __name__ == "__main__":
  sys.exit(main())
