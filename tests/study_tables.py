"""The stored tables of studies, docs/tables/STUDY.csv, and what their numbers show."""

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from transformer.studies.significance import welch

ROOT = Path(__file__).resolve().parent.parent
TABLES = ROOT / "docs" / "tables"
STUDIES, README = "docs/studies.md", "README.md"

Table = dict[str, dict[str, float]]


def read(name: str) -> Table:
  """A stored table as numbers by row and column; cells without one are left out."""
  with (TABLES / f"{name}.csv").open(encoding="utf-8", newline="") as file:
    rows = list(csv.DictReader(file))
  number = re.compile(r"-?\d+(\.\d+)?(e[-+]?\d+)?")
  return {
    row["row"]: {k: float(v) for k, v in row.items() if number.fullmatch(v or "")}
    for row in rows
  }


class Sentence(NamedTuple):
  """A part of a page that says what a table shows."""

  page: str
  text: str
  table: str
  holds: Callable[[Table], bool]


BLEU, PERPLEXITY = "dev/bleu", "dev/perplexity"
RNN, SEARCH = "RNN (Sutskever)", "RNN with attention (Bahdanau)"
CONVOLUTIONAL, TRANSFORMER = "convolutional (Gehring)", "Transformer"
VIT, RESNET = "Vision Transformer", "residual network"
RANDOM, PRETRAINED, LONGER = "random", "pre-trained", "pre-trained longer"


EXACT, NARROW = "val/exact_match", "after, narrow, cosine"
NORM_ROWS = [
  f"{n} {place}" for n in ("layer", "RMS", "batch") for place in ("after", "before")
]


def exact(table: Table, row: str) -> float:
  """The share of held-out texts that a row reads."""
  return table[row][EXACT]


def blocked(table: Table, run: str, step: int) -> float:
  """The share of queries whose largest gradient is below 0.001, the mean over seeds."""
  shares = [table[f"{run}/seed-{n}, step {step}"]["blocked"] for n in range(3)]
  return sum(shares) / 3


def alike(table: Table, row: str, other: str) -> bool:
  """Whether two rows differ by less than the larger deviation over seeds."""
  deviation = max(table[name][f"{EXACT} deviation"] for name in (row, other))
  return abs(exact(table, row) - exact(table, other)) < deviation


def points_lost(table: Table, row: str, setting: str) -> int:
  """What a row loses in a setting, in points, as a page rounds it."""
  return round(100 * (exact(table, row) - exact(table, row + setting)))


def p(table: Table, score: str, row: str, other: str) -> float:
  """Welch's p of the difference between two rows, over three seeds."""
  one, two = ([table[r][f"{score} seed {n}"] for n in range(3)] for r in (row, other))
  return welch(one, two) or 0.0


def signs(table: Table, score: str) -> dict[str, bool]:
  """Whether a row of Table 3 differs from the base in the paper's direction, for the
  rows that differ in the paper."""
  base, published = table["base"], f"{score} published"
  return {
    name: (row[score] > base[score]) == (row[published] > base[published])
    for name, row in table.items()
    if row[published] != base[published]
  }


def same_sign(table: Table, score: str) -> tuple[int, int]:
  """How many rows differ in the paper, and how many of them in the same direction."""
  found = signs(table, score)
  return len(found), sum(found.values())


def supported(table: Table, score: str, agrees: bool) -> list[str]:
  """The rows whose difference the seeds support, in the paper's direction or not."""
  return [
    name
    for name, agreed in signs(table, score).items()
    if agreed == agrees and table[name][f"{score} p of seeds"] < 0.05
  ]


def dates(table: Table, row: str, number: int) -> float:
  """The share of texts with so many dates that a row reads."""
  return table[row][f"{number} dates/exact_match"]


def gap(table: Table, images: int) -> int:
  """How far the Vision Transformer is behind, in points, as a page rounds it."""
  vit, resnet = (table[f"{name} {images}"]["test/accuracy"] for name in (VIT, RESNET))
  return round(100 * (resnet - vit))


def gain(table: Table, name: str, images: int, start: str = PRETRAINED) -> int:
  """What pre-training gives in points, as a page rounds it; 0 if it is less than the
  deviation over seeds of either row."""
  rows = [table[f"{name}, {begun} {images}"] for begun in (RANDOM, start)]
  random, pretrained = (row["test/accuracy"] for row in rows)
  deviation = max(row["test/accuracy deviation"] for row in rows)
  points = pretrained - random
  return round(100 * points) if abs(points) > deviation else 0


def lead(table: Table, images: int, vit: str, resnet: str) -> int:
  """How far the residual network is ahead, in points, by what the two start from."""
  ahead, behind = table[f"{RESNET}, {resnet} {images}"], table[f"{VIT}, {vit} {images}"]
  return round(100 * (ahead["test/accuracy"] - behind["test/accuracy"]))


def change(table: Table, seed: int, memory: int) -> float:
  """What a memory changes in a seed's perplexity against that of training, 64."""
  run = f"transformer_xl-{seed}, memory"
  return table[f"{run} {memory}"]["perplexity"] - table[f"{run} 64"]["perplexity"]
