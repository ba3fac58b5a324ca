"""How a study is drawn: with error bars, and readable without colour."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from transformer.studies.row_results import RowResults
from transformer.studies.rows import HeldOut

matplotlib.rcParams["text.parse_math"] = False  # a dollar in a name is a dollar

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
    rows: Sequence[RowResults],
    columns: Sequence[str],
    held_out: Sequence[HeldOut],
  ) -> bool:
    """Draws the scores of rows that have any; False if there is nothing to draw."""
    return False

  def named_columns(self) -> tuple[str, ...]:
    """The columns of the study that it names, each of which there must be."""
    return ()


@dataclasses.dataclass(frozen=True)
class DotPlot(Figure):
  """A panel for each column, rows one below the other: the mean over seeds with its
  deviation, and each seed.

  Attributes:
    columns: those to draw; all of the study's by default.
    limits: of the axis of each drawn column, where a row would set the scale alone;
      means beyond them are written at the edge, as those
      that are not finite are in the middle.
  """

  columns: tuple[str, ...] = ()
  limits: tuple[tuple[float, float], ...] = ()

  def __post_init__(self):
    if self.limits and len(self.limits) != len(self.columns):
      raise ValueError(f"DotPlot.limits: expected one of each column, got {self}")

  def named_columns(self) -> tuple[str, ...]:
    return self.columns

  def draw(self, file, title, rows, columns, held_out) -> bool:
    done = [row for row in rows if row.results]
    if not done:
      return False
    columns = self.columns or columns
    figure, axes = dot_panels(title, len(columns), len(done))
    every = self.limits or (None,) * len(columns)
    for axis, column, limits in zip(axes, columns, every, strict=True):
      dots(axis, done, column, done[0], limits)
      axis.set(xlabel=axis_label(column))
    finish_dots(figure, axes, [row.row.name for row in done], file)
    return True


@dataclasses.dataclass(frozen=True)
class DotPlotByLine(Figure):
  """One column: a panel for each `Row.line`, with a scale of its own and its rows one
  below the other, which are the same in all of them.

  Attributes:
    column: the score.
  """

  column: str = "val/loss"

  def named_columns(self) -> tuple[str, ...]:
    return (self.column,)

  def draw(self, file, title, rows, columns, held_out) -> bool:
    done = [row for row in rows if row.results]
    if not done:
      return False
    lines = list(dict.fromkeys(row.row.line for row in done))
    names = list(dict.fromkeys(short_name(row) for row in done))
    title = f"{title}\n{axis_label(self.column)}"
    figure, axes = dot_panels(title, len(lines), len(names))
    for axis, name in zip(axes, lines, strict=True):
      own = {short_name(row): row for row in done if row.row.line == name}
      panel = [own.get(each) for each in names]
      dots(axis, panel, self.column, panel[0])
      axis.set_title(name, fontsize="medium")
    finish_dots(figure, axes, names, file)
    return True


def short_name(row: RowResults) -> str:
  """The name of a row without that of its line."""
  return row.row.name.removesuffix(f", {row.row.line}")


def dot_panels(title: str, count: int, rows: int):
  """A figure of so many panels side by side, each of so many rows."""
  figure, axes = plt.subplots(
    1, count, figsize=(2.2 + max(6.5, 2.2 * count), 1.6 + 0.3 * rows),
    sharey=True, squeeze=False, layout="constrained",
  )  # fmt: skip
  figure.suptitle(title)
  return figure, list(axes[0])


def dots(
  axis: Axes,
  rows: Sequence[RowResults | None],
  column: str,
  base: RowResults | None,
  limits: tuple[float, float] | None = None,
) -> None:
  """The scores of rows, from the top to the bottom, beside the mean of a base; None
  leaves a gap."""
  for position, row in enumerate(rows):
    if row is None or (summary := row.summary(column)) is None:
      continue
    if not math.isfinite(summary.mean):
      axis.text(
        0.5, position, f"{summary.mean}", transform=axis.get_yaxis_transform(),
        va="center", ha="center", fontsize="small",
      )  # fmt: skip
      continue
    if limits and not limits[0] <= summary.mean <= limits[1]:
      below = summary.mean < limits[0]
      text = f"← {summary.mean:.4g}" if below else f"{summary.mean:.4g} →"
      axis.text(
        limits[0] if below else limits[1], position, text, va="center",
        ha="left" if below else "right", fontsize="small",
      )  # fmt: skip
      continue
    values = row.values(column)
    axis.plot(
      values, [position] * len(values), "|", color="gray", markersize=9,
      label="each seed",
    )  # fmt: skip
    axis.errorbar(
      summary.mean, position, xerr=summary.deviation, fmt="o", color="black",
      markersize=5, capsize=3, label="mean and deviation over seeds",
    )  # fmt: skip
  if base and (of_base := base.summary(column)):
    axis.axvline(
      of_base.mean, color="black", linestyle=":", linewidth=1,
      label=f"mean of {short_name(base)}",
    )  # fmt: skip
  if limits:
    axis.set_xlim(limits)
  axis.grid(axis="x", alpha=0.3)


def finish_dots(figure, axes: Sequence[Axes], names: Sequence[str], file: Path) -> None:
  """The names of the rows, one legend, and the file."""
  axes[0].set_yticks(range(len(names)), names)
  axes[0].set_ylim(len(names) - 0.5, -0.5)
  legend_below(figure, axes[0], 3)
  save(figure, file)


def legend_below(figure, axis: Axes, columns: int, **settings) -> None:
  """One legend for all panels, with each label once; handles are long enough to show
  dashes."""
  handles, names = axis.get_legend_handles_labels()
  unique = dict(zip(names, handles, strict=True))
  figure.legend(
    list(unique.values()), list(unique), loc="outside lower center", ncols=columns,
    handlelength=4, **settings,
  )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class LinesOverHeldOut(Figure):
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

  def draw(self, file, title, rows, columns, held_out) -> bool:
    done = [row for row in rows if row.results]
    if not done:
      return False
    figure, axes = panels(title, len(self.scores))
    for axis, score in zip(axes, self.scores, strict=True):
      for number, row in enumerate(done):
        points = [(one.x, row.summary(f"{one.name}/{score}")) for one in held_out]
        line(axis, number, row.row.name, points)
      if self.mark is not None:
        axis.axvline(self.mark, color="gray", linestyle=":", label=self.marked)
      axis.set(xlabel=self.label, ylabel=axis_label(score))
      axis.set_xticks([one.x for one in held_out])
    finish_lines(figure, axes, file)
    return True


@dataclasses.dataclass(frozen=True)
class LinesOverRows(Figure):
  """A panel for each column, over the `x` of the rows, a line for each `Row.line`.

  Attributes:
    label: of the x axis, with its unit.
    logarithmic: whether the x axis is.
  """

  label: str = "x"
  logarithmic: bool = False

  def draw(self, file, title, rows, columns, held_out) -> bool:
    done = [row for row in rows if row.results]
    if not done:
      return False
    names = list(dict.fromkeys(row.row.line for row in done))
    figure, axes = panels(title, len(columns))
    for axis, column in zip(axes, columns, strict=True):
      for number, name in enumerate(names):
        own = [row for row in done if row.row.line == name]
        points = [(row.row.x, row.summary(column)) for row in own]
        line(axis, number, name, points)
      if self.logarithmic:
        axis.set_xscale("log", base=2)
        ticks = sorted({row.row.x for row in done})
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
      axis.set(xlabel=self.label, ylabel=axis_label(column))
    finish_lines(figure, axes, file)
    return True


def axis_label(column: str) -> str:
  """An axis' label: the score's unit, and the set it was taken on."""
  name, slash, score = column.rpartition("/")
  unit = UNITS.get(score, score.replace("_", " "))
  return f"{unit}, {name}" if slash else unit


def panels(title: str, count: int):
  """A figure of so many panels side by side."""
  figure, axes = plt.subplots(
    1, count, figsize=(0.8 + 3.7 * count, 5), squeeze=False, layout="constrained"
  )
  figure.suptitle(title)
  return figure, list(axes[0])


def line(axis: Axes, number: int, name: str, points) -> None:
  """One line from left to right with its error bars; lines differ by marker, dashes and
  shade."""
  sorted_points = sorted((x, summary) for x, summary in points if summary is not None)
  if not sorted_points:
    return
  axis.errorbar(
    [x for x, _ in sorted_points],
    [summary.mean for _, summary in sorted_points],
    yerr=[summary.deviation for _, summary in sorted_points],
    marker=MARKS[number % len(MARKS)],
    linestyle=STYLES[number % len(STYLES)],
    color=SHADES[number % len(SHADES)],
    markersize=5,
    linewidth=1.2,
    capsize=3,
    label=name,
  )


def finish_lines(figure, axes: Sequence[Axes], file: Path) -> None:
  """Grids, one legend, and the file."""
  for axis in axes:
    axis.grid(alpha=0.3)
  legend_below(figure, axes[0], 2, title="mean, deviation over seeds")
  save(figure, file)


def save(figure, file: Path) -> None:
  """Writes the file."""
  figure.savefig(file, dpi=110)
  plt.close(figure)
