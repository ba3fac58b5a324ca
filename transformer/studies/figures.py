"""How a study is drawn: with error bars, and readable without colour."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from transformer.studies.entry import Entry
from transformer.studies.rows import HeldOut

UNITS = {
  "loss": "loss in nats",
  "perplexity": "perplexity per token",
  "bits_per_character": "bits per character",
  "exact_match": "share of texts that are exactly right",
  "bleu": "BLEU",
  "chrf": "chrF",
}
"""What a score is measured in, where its name does not say so."""

MARKS = ("o", "s", "^", "v", "D", "P", "X", "*", "<", ">")
STYLES = ("-", "--", ":", "-.")
SHADES = ("black", "dimgray", "gray")


@dataclasses.dataclass(frozen=True)
class Figure:
  """No figure."""

  def draw(
    self,
    file: Path,
    title: str,
    entries: Sequence[Entry],
    columns: Sequence[str],
    held_out: Sequence[HeldOut],
  ) -> bool:
    """Draws scores of the rows that have any; whether there was something to draw."""
    return False


@dataclasses.dataclass(frozen=True)
class Dots(Figure):
  """A panel for each column, rows one below the other: the mean over seeds with its
  deviation, and each seed."""

  def draw(self, file, title, entries, columns, held_out) -> bool:
    done = [entry for entry in entries if entry.results]
    if not done:
      return False
    figure, axes = plt.subplots(
      1, len(columns), figsize=(2.2 + 3.6 * len(columns), 1.6 + 0.3 * len(done)),
      sharey=True, squeeze=False, layout="constrained",
    )  # fmt: skip
    figure.suptitle(title)
    places = range(len(done))
    for axis, column in zip(axes[0], columns, strict=True):
      for place, entry in zip(places, done, strict=True):
        values = entry.values(column)
        axis.plot(
          values, [place] * len(values), "|", color="gray", markersize=9,
          label="each seed" if place == 0 else None,
        )  # fmt: skip
        spread = entry.spread(column)
        if spread:
          axis.errorbar(
            spread.mean, place, xerr=spread.deviation, fmt="o", color="black",
            markersize=5, capsize=3,
            label="mean and deviation over seeds" if place == 0 else None,
          )  # fmt: skip
      base = done[0].spread(column)
      if base:
        axis.axvline(
          base.mean, color="black", linestyle=":", linewidth=1,
          label=f"mean of {done[0].row.name}",
        )  # fmt: skip
      axis.set(xlabel=labelled(column), yticks=list(places))
      axis.set_yticklabels([entry.row.name for entry in done])
      axis.grid(axis="x", alpha=0.3)
    axes[0, 0].set_ylim(len(done) - 0.5, -0.5)
    axes[0, 0].set_ylabel("row")
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3)
    finish(figure, file)
    return True


@dataclasses.dataclass(frozen=True)
class OverSets(Figure):
  """A panel for each score, a line for each row, over the `x` of the held-out sets:
  scores by length, say.

  Attributes:
    label: of the x axis, with its unit.
    scores: those to draw, by their names without a set.
    mark: an `x` to draw a line at, and what it is.
  """

  label: str = "set"
  scores: tuple[str, ...] = ("exact_match",)
  mark: float | None = None
  marked: str = ""

  def draw(self, file, title, entries, columns, held_out) -> bool:
    done = [entry for entry in entries if entry.results]
    if not done:
      return False
    figure, axes = panels(title, len(self.scores))
    for axis, score in zip(axes, self.scores, strict=True):
      for number, entry in enumerate(done):
        points = [(one.x, entry.spread(f"{one.name}/{score}")) for one in held_out]
        line(axis, number, entry.row.name, points)
      if self.mark is not None:
        axis.axvline(self.mark, color="gray", linestyle=":", label=self.marked)
      axis.set(xlabel=self.label, ylabel=labelled(score))
      axis.set_xticks([one.x for one in held_out])
    close(figure, axes, file)
    return True


@dataclasses.dataclass(frozen=True)
class OverRows(Figure):
  """A panel for each column, over the `x` of the rows, a line for each `Row.line`.

  Attributes:
    label: of the x axis, with its unit.
    logarithmic: whether the x axis is.
  """

  label: str = "x"
  logarithmic: bool = False

  def draw(self, file, title, entries, columns, held_out) -> bool:
    done = [entry for entry in entries if entry.results]
    if not done:
      return False
    names = list(dict.fromkeys(entry.row.line for entry in done))
    figure, axes = panels(title, len(columns))
    for axis, column in zip(axes, columns, strict=True):
      for number, name in enumerate(names):
        own = [entry for entry in done if entry.row.line == name]
        points = [(entry.row.x, entry.spread(column)) for entry in own]
        line(axis, number, name, points)
      if self.logarithmic:
        axis.set_xscale("log", base=2)
        ticks = sorted({entry.row.x for entry in done})
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
      axis.set(xlabel=self.label, ylabel=labelled(column))
    close(figure, axes, file)
    return True


def labelled(column: str) -> str:
  """An axis' label: the score's unit, and the set it was taken on."""
  name, slash, score = column.rpartition("/")
  unit = UNITS.get(score, score.replace("_", " "))
  return f"{unit}, {name}" if slash else unit


def panels(title: str, count: int):
  """A figure of so many panels side by side."""
  figure, axes = plt.subplots(
    1, count, figsize=(1.6 + 4.2 * count, 4.4), squeeze=False, layout="constrained"
  )
  figure.suptitle(title)
  return figure, list(axes[0])


def line(axis: Axes, number: int, name: str, points) -> None:
  """One line from left to right with its error bars, told from others by mark, dashes
  and shade."""
  known = sorted((x, spread) for x, spread in points if spread is not None)
  if not known:
    return
  axis.errorbar(
    [x for x, _ in known],
    [spread.mean for _, spread in known],
    yerr=[spread.deviation for _, spread in known],
    marker=MARKS[number % len(MARKS)],
    linestyle=STYLES[number % len(STYLES)],
    color=SHADES[number % len(SHADES)],
    markersize=5,
    linewidth=1.2,
    capsize=3,
    label=name,
  )


def close(figure, axes: Sequence[Axes], file: Path) -> None:
  """Grids, one legend, and the file."""
  for axis in axes:
    axis.grid(alpha=0.3)
  handles, names = axes[0].get_legend_handles_labels()
  figure.legend(
    handles, names, loc="outside right upper", title="mean, deviation over seeds"
  )
  finish(figure, file)


def finish(figure, file: Path) -> None:
  """Writes the file."""
  figure.savefig(file, dpi=110)
  plt.close(figure)
