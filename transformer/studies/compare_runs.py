"""Commands that compare finished runs: a table, a figure, and a printed line for each
row."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from transformer.runs.compilation_cache import enable_compilation_cache
from transformer.runs.output import OutputFile
from transformer.studies.figures import MARKS, SHADES, STYLES
from transformer.studies.page import csv_text


def parser(name: str, description: str | None) -> argparse.ArgumentParser:
  """The flags that all have: runs, where to write, which texts."""
  new = argparse.ArgumentParser(prog=name, description=description)
  new.add_argument("runs", metavar="RUN", nargs="+", type=Path)
  new.add_argument("--output", type=Path, default=Path(name))
  new.add_argument("--split", default="test", help="train, val or test (default)")
  return new


def names(paths: Sequence[Path]) -> list[str]:
  """Names of runs: the ends of their paths, as short as they differ."""
  most = max(len(path.parts) for path in paths)
  for n in range(1, most + 1):
    found = ["/".join(path.parts[-n:]) for path in paths]
    if len(set(found)) == len(found):
      break
  return found


def write(
  output: Path, measure: Callable[[], Sequence[Any]], draw: Callable, describe: Callable
) -> int:
  """Writes the table, prints every row and draws the figure; the exit status, 1 after
  an error of the user's, which is one line.

  Args:
    output: both files, without `.csv` and `.png`.
    measure: returns rows, which are named tuples.
    draw: draws them, `draw(file, rows)`.
    describe: the line of a row.
  """
  enable_compilation_cache()
  try:
    # Before what takes long: either raises if it can never be written.
    table, figure = (
      OutputFile(output.with_name(f"{output.name}.{kind}")) for kind in ("csv", "png")
    )
    rows = measure()
    table.write(csv_text([rows[0]._fields, *rows]).encode())
    for row in rows:
      print(describe(row))
    draw(figure.path, rows)
  except (ValueError, OSError) as error:
    print(f"error: {error}", file=sys.stderr)
    return 1
  return 0


def lines(axis: Axes, rows: Sequence[Any], x: Callable, y: Callable) -> None:
  """A line for each run, readable without colour."""
  for i, name in enumerate(dict.fromkeys(row.run for row in rows)):
    own = [row for row in rows if row.run == name]
    axis.plot(
      [x(row) for row in own], [y(row) for row in own], label=name,
      marker=MARKS[i % len(MARKS)], linestyle=STYLES[i % len(STYLES)],
      color=SHADES[i % len(SHADES)],
    )  # fmt: skip
  axis.grid(alpha=0.3)
