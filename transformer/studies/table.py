"""A study's table.md, table.csv, figure.png and report.html."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from transformer.runs.directory import write_atomic
from transformer.studies.page import markdown, page
from transformer.studies.row_results import RowResults
from transformer.studies.significance import RESAMPLES
from transformer.studies.study import Study


def write(
  directory: Path, study: Study, entries: Sequence[RowResults], about: str
) -> None:
  """Writes all four, whole or not at all; `about` says how it was made."""
  head, rows = cells(study, entries)
  notes = sentences(study, about)
  text = markdown(study.title, head, rows, notes)
  write_atomic(directory / "table.md", text.encode())
  write_atomic(directory / "table.csv", as_csv(study, entries).encode())
  figure, scratch = directory / "figure.png", directory / ".figure.png"
  drawn = study.figure.draw(
    scratch, study.title, entries, study.columns, study.held_out
  )
  if drawn:
    scratch.replace(figure)
  picture = figure.read_bytes() if drawn else b""
  text = page(study.title, head, rows, notes, picture)
  write_atomic(directory / "report.html", text.encode())


def sentences(study: Study, about: str) -> list[str]:
  """What a reader has to know about the table."""
  lower = [column for column in study.columns if study.metric(column).lower_is_better]
  notes = [
    about,
    "Scores: mean ± standard deviation over seeds (n - 1).",
    "FLOPs: of training, a target slot of a batch, three times those of the forward "
    "pass; multiply-adds count as two.",
  ]
  if lower:
    notes.insert(2, f"Lower is better: {', '.join(lower)}.")
  if compared(study):
    notes.append(
      "p: probability of so large a difference in BLEU to the first row by chance; "
      f"paired bootstrap by sacreBLEU, {RESAMPLES:,} resamples of the texts of "
      f"{study.held_out[0].name}, seeds paired."
    )
  return [*notes, *study.notes]


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
  head += ["p"] if compared(study) else []
  head += ["parameters", *(["published"] if "parameters" in printed else [])]
  head += ["− base", "FLOPs/token", "tokens/s", "seeds"]
  rows = []
  for entry in entries:
    row = [entry.row.name, ", ".join(changes(entry)) or "–"]

    def published(column: str, form: str, entry=entry) -> list[str]:
      if column not in printed:
        return []
      value = entry.row.published_value(printed, column)
      return ["–" if value is None else format(value, form)]

    for column in study.columns:
      summary = entry.summary(column)
      row.append(str(summary) if summary else "–")
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
      f"failed: {entry.failed}" if entry.failed else str(len(entry.results)),
    ]
    rows.append(row)
  return head, rows


def changes(entry: RowResults) -> list[str]:
  """A row's changes, and the size that matching chose."""
  matched = [f"{entry.matched} (matched)"] if entry.matched else []
  return [*entry.row.shown, *matched]


def as_csv(study: Study, entries: Sequence[RowResults]) -> str:
  """The table as plain numbers, a mean, a deviation and each seed's own value in
  columns of their own; what is not known is empty."""
  seeds = [f"seed {seed}" for seed in study.seeds]
  head = ["row", "changes"]
  for column in study.columns:
    head += [column, f"{column} deviation", *(f"{column} {seed}" for seed in seeds)]
  head += ["p", "parameters", "flops_per_token", "tokens_per_second"]
  head += [*(f"{name} published" for name in study.published), "seeds", "failed"]
  out = io.StringIO()
  writer = csv.writer(out, lineterminator="\n")
  writer.writerow(head)
  for entry in entries:
    row: list = [entry.row.name, "; ".join(changes(entry))]
    for column in study.columns:
      values = entry.values(column)
      summary = entry.summary(column)
      row += [summary.mean, summary.deviation] if summary else ["", ""]
      row += [*values, *[""] * (len(seeds) - len(values))]
    row += [
      entry.p(entries[0]),
      entry.counts.parameters,
      entry.counts.flops,
      entry.tokens_per_second,
    ]
    row += [
      entry.row.published_value(study.published, name) for name in study.published
    ]
    writer.writerow([*row, len(entry.results), entry.failed])
  return out.getvalue()
