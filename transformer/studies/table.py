"""A study's table.md, table.csv, trials.csv, figure.png and report.html."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from transformer.runs.directory import write_atomic
from transformer.studies.budget import Amount
from transformer.studies.page import RowCurves, csv_text, markdown, page
from transformer.studies.row_results import RowResults
from transformer.studies.significance import RESAMPLES
from transformer.studies.study import Study

SPENT = {
  "target_tokens": "target tokens",
  "seconds": "s of training",
  "processor_seconds": "processor s",
}
"""Columns of what the training of a seed took (`Spent`), where it was recorded."""


def write(
  directory: Path,
  study: Study,
  entries: Sequence[RowResults],
  about: str,
  runs: Sequence[Sequence[Path]],
) -> None:
  """Writes all of them, each whole or not at all.

  Args:
    directory: where to.
    study, entries: the study as far as it is done.
    about: how it was made.
    runs: the directories of each row's seeds.
  """
  head, rows = cells(study, entries)
  notes = sentences(study, about)
  trial_rows = trials(study, entries)
  tables = {"Trials": trial_rows} if len(trial_rows) > 1 else {}
  text = markdown(study.title, head, rows, notes, tables)
  write_atomic(directory / "table.md", text.encode())
  if tables:
    write_atomic(directory / "trials.csv", csv_text(trial_rows).encode())
  elif not study.sweep.points:  # of an earlier version of the study
    (directory / "trials.csv").unlink(missing_ok=True)
  write_atomic(directory / "table.csv", as_csv(study, entries).encode())
  picture = draw(directory, study, entries)
  if picture:
    write_atomic(directory / "figure.png", picture)
  curves = RowCurves.read(study.base, [entry.row.name for entry in entries], runs)
  text = page(study.title, head, rows, notes, picture, tables, curves)
  write_atomic(directory / "report.html", text.encode())


def draw(directory: Path, study: Study, entries: Sequence[RowResults]) -> bytes:
  """The figure as a PNG; empty where there is nothing to draw, or where that failed,
  which is printed: training continues, and there are the tables."""
  try:
    with tempfile.TemporaryDirectory() as folder:
      file = Path(folder, "figure.png")
      drawn = study.figure.draw(
        file, study.title, entries, study.columns, study.held_out
      )
      return file.read_bytes() if drawn else b""
  except Exception as error:
    text = " ".join(str(error).split())
    print(
      f"{directory}: no figure could be drawn ({type(error).__name__}: {text})",
      file=sys.stderr,
    )
    return b""


def sentences(study: Study, about: str) -> list[str]:
  """What a reader has to know about the table."""
  lower = [column for column in study.columns if study.metric(column).lower_is_better]
  notes = [
    about,
    "Scores: mean ± standard deviation over seeds (n - 1)"
    + (
      "; in brackets p of the difference to the first row over seeds, by Welch's "
      "t-test, two-sided, not corrected for the number of rows."
      if len(study.seeds) > 1 and len(study.rows) > 1
      else "."
    ),
    "FLOPs: of training, a target slot of a batch, three times those of the forward "
    "pass; multiply-adds count as two.",
  ]
  if lower:
    notes.insert(2, f"Lower is better: {', '.join(lower)}.")
  if compared(study):
    notes.append(
      "p (texts): probability of so large a difference in BLEU to the first row by "
      f"chance; paired bootstrap, {RESAMPLES:,} resamples of the texts of "
      f"{study.held_out[0].name}, each with the outputs of all seeds."
    )
  budget = study.budget
  if isinstance(budget, Amount):
    notes.append(
      f"Budget: {budget.amount:,g} {budget.spends.replace('_', ' ')} for each seed and "
      "trial; the updates follow from a measurement."
    )
  if study.sweep.points:
    metric = study.sweep.metric_of(study.base)
    notes.append(
      f"Each row at the best of {len(study.sweep.points)} points of a grid over "
      f"{' and '.join(study.sweep.settings)}, by {metric} on val, tried with seed "
      f"{study.sweep.seed}, which no score here is of, for {study.sweep.share:.0%} of "
      "the updates."
    )
  return [*notes, *study.notes]


def trials(study: Study, entries: Sequence[RowResults]) -> list[list[str]]:
  """The trials of all rows, under a head."""
  metric = study.sweep.metric_of(study.base)
  rows = [["row", "trial", f"val/{metric}", "chosen", "failed"]]
  for entry in entries:
    points = zip(study.sweep.points, entry.trials, strict=False)
    for number, (point, trial) in enumerate(points):
      score = "" if trial.score is None else f"{trial.score:.6g}"
      chosen = "yes" if number == entry.chosen else ""
      rows.append([entry.row.name, point.name, score, chosen, trial.failed])
  return rows


def compared(study: Study) -> bool:
  """Whether rows are compared by BLEU."""
  return any(metric.name == "bleu" for metric in study.base.task.scores)


def cells(
  study: Study, entries: Sequence[RowResults]
) -> tuple[list[str], list[list[str]]]:
  """The table as texts: its head and its rows."""
  base, printed = entries[0], study.published
  head = ["row", "changes"]
  for column in study.columns:
    head += [column, *(["published"] if column in printed else [])]
  head += ["p (texts)"] if compared(study) else []
  head += ["parameters", *(["published"] if "parameters" in printed else [])]
  spent = [name for name in SPENT if any(entry.spent(name) for entry in entries)]
  head += ["− base", "FLOPs/token", "tokens/s", *(SPENT[name] for name in spent)]
  head += ["seeds"]
  rows = []
  for entry in entries:
    row = [entry.row.name, ", ".join(changes(study, entry)) or "–"]

    def published(column: str, form: str, entry=entry) -> list[str]:
      if column not in printed:
        return []
      value = entry.row.published_value(printed, column)
      return ["–" if value is None else format(value, form)]

    for column in study.columns:
      summary = entry.summary(column)
      p_of_seeds = entry.p_of_seeds(base, column)
      bracket = "" if p_of_seeds is None else f" (p {p_of_seeds:.2g})"
      row.append(f"{summary}{bracket}" if summary else "–")
      row += published(column, "g")
    if compared(study):
      p = entry.p(base)
      row.append("–" if p is None else f"{p:.3f}")
    row += [f"{entry.counts.parameters:,}", *published("parameters", ",.0f")]
    row += [
      "–"
      if entry is base
      else f"{entry.counts.parameters - base.counts.parameters:+,}",
      f"{entry.counts.flops:.3g}",
      f"{entry.tokens_per_second:,.0f}" if entry.tokens_per_second else "–",
      *(f"{value:,.0f}" if (value := entry.spent(name)) else "–" for name in spent),
      f"failed: {entry.failed}" if entry.failed else str(len(entry.results)),
    ]
    rows.append(row)
  return head, rows


def changes(study: Study, entry: RowResults) -> list[str]:
  """A row's changes, the size that matching chose, and the point of the sweep."""
  matched = [f"{entry.matched} (matched)"] if entry.matched else []
  swept: tuple[str, ...] = ()
  if entry.chosen is not None:
    point = study.sweep.points[entry.chosen]
    swept = tuple(f"{text} (swept)" for text in point.shown)
  return [*entry.row.shown, *matched, *swept]


def as_csv(study: Study, entries: Sequence[RowResults]) -> str:
  """The table as plain numbers, a mean, a deviation and each seed's own value in
  columns of their own; what is not known is empty."""
  seeds = [f"seed {seed}" for seed in study.seeds]
  head = ["row", "changes"]
  for column in study.columns:
    head += [column, f"{column} deviation", f"{column} p of seeds"]
    head += [f"{column} {seed}" for seed in seeds]
  head += ["p", "parameters", "flops_per_token", "tokens_per_second", *SPENT]
  head += [*(f"{name} published" for name in study.published), "seeds", "failed"]
  lines: list[list] = [head]
  for entry in entries:
    row: list = [entry.row.name, "; ".join(changes(study, entry))]
    for column in study.columns:
      values = entry.values(column)
      summary = entry.summary(column)
      row += [summary.mean, summary.deviation] if summary else ["", ""]
      row.append(entry.p_of_seeds(entries[0], column))
      row += [*values, *[""] * (len(seeds) - len(values))]
    row += [
      entry.p(entries[0]),
      entry.counts.parameters,
      entry.counts.flops,
      entry.tokens_per_second,
      *(entry.spent(name) for name in SPENT),
    ]
    row += [
      entry.row.published_value(study.published, name) for name in study.published
    ]
    lines.append([*row, len(entry.results), entry.failed])
  return csv_text(lines)
