"""The tables of a study for a reader: Markdown, CSV, and a page in one file that needs
no other."""

import base64
import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from transformer.experiment import Config
from transformer.inspection.page import assemble
from transformer.studies.curves import describe_metrics, directions, read_curves

Table = Sequence[Sequence[str]]


class RowCurves(NamedTuple):
  """The curves of a study's runs.

  Attributes:
    rows: the numbers of each row's runs.
    runs: their names and curves, as `drawCurves` takes them.
    metrics: title and unit of each metric.
  """

  rows: list[list[int]]
  runs: list[dict[str, Any]]
  metrics: dict[str, dict[str, Any]]

  @classmethod
  def read(
    cls, base: Config, names: Sequence[str], directories: Sequence[Sequence[Path]]
  ) -> "RowCurves":
    """Those of rows by their names and the directories of their seeds, as far as these
    have begun."""
    rows: list[list[int]] = []
    found: list[tuple[str, Path]] = []
    for name, paths in zip(names, directories, strict=True):
      begun = [path for path in paths if (path / "metrics.csv").is_file()]
      rows.append(list(range(len(found), len(found) + len(begun))))
      found += [(f"{name}, {path.name.replace('-', ' ')}", path) for path in begun]
    lower = directions([base.task])
    curves = read_curves([path for _, path in found], lower)
    runs = [{"name": found[i][0], **each} for i, each in enumerate(curves)]
    return cls(rows, runs, describe_metrics(lower, curves))


def page(
  title: str,
  head: Sequence[str],
  rows: Table,
  notes: Sequence[str],
  picture: bytes,
  tables: Mapping[str, Table] | None = None,
  curves: RowCurves | None = None,
) -> str:
  """HTML of a figure, a table whose rows open to their curves, and notes.

  Args:
    title: the heading.
    head, rows: the table as texts.
    notes: sentences below it.
    picture: a PNG, or empty.
    tables: more tables, each under its own head, by their titles.
    curves: of the rows, if they have any.
  """
  image = base64.b64encode(picture).decode()
  data = {
    "title": title,
    "head": head,
    "rows": rows,
    "notes": notes,
    "picture": f"data:image/png;base64,{image}" if picture else "",
    "tables": tables or {},
    "curves": (curves or RowCurves([[]] * len(rows), [], {}))._asdict(),
  }
  return assemble("study", title, data, parts=("curves",))


def markdown(
  title: str,
  head: Sequence[str],
  rows: Table,
  notes: Sequence[str],
  tables: Mapping[str, Table] | None = None,
) -> str:
  """The same as Markdown, without figure and curves; from the third column on, numbers
  stand to the right."""
  lines = [f"# {title}", "", *pipes([head, *rows]), "", *(f"* {n}" for n in notes), ""]
  for name, table in (tables or {}).items():
    lines += [f"## {name}", "", *pipes(table), ""]
  return "\n".join(lines)


def pipes(table: Table) -> list[str]:
  """The lines of a table whose first row is its head."""
  cells = [
    [text.replace("|", "\\|").replace("\n", " ") for text in row] for row in table
  ]
  dashes = ["---", "---", *("---:" for _ in table[0][2:])]
  return ["| " + " | ".join(row) + " |" for row in (cells[0], dashes, *cells[1:])]


def csv_text(rows: Sequence[Sequence[Any]]) -> str:
  """Rows as CSV; None is empty."""
  out = io.StringIO()
  csv.writer(out, lineterminator="\n").writerows(rows)
  return out.getvalue()
