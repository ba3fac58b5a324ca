"""The rows of a study, one after another, each through the one trainer.

  DIR/rows/ROW/seed-N   a run as any other: resumed, evaluated and used like one
  DIR/rows/ROW/seed-N.log   what the trainer printed
  DIR/table.md, table.csv, figure.png, report.html   as far as rows are done

A row that is done is not trained again, and one that was stopped is resumed.
"""

import contextlib
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import jax

from transformer.analysis.counts import count
from transformer.experiment import Config
from transformer.runs.directory import claim
from transformer.runs.trainer import train
from transformer.studies import table
from transformer.studies.result import Result, score
from transformer.studies.row_results import RowResults
from transformer.studies.study import Study


class Ablation:
  """A study in its directory."""

  def __init__(self, study: Study, directory: Path):
    """Reads and trains nothing yet.

    Raises:
      ValueError: a row changes what is not a setting of the base.
    """
    self.study, self.directory = study, Path(directory)
    self.rows = [
      RowResults(row, config, matched, count(config))
      for row, (config, matched) in zip(study.rows, study.configs(), strict=True)
    ]

  def run(self) -> int:
    """Trains what is not done, row by row; the exit status: 0, that of SIGTERM, or 1
    where a row failed.

    Raises:
      ValueError, OSError: the directory is in use or something else.
    """
    path = self.directory
    with self._claimed():
      start, trained = time.monotonic(), 0
      pending = [row for row in self.rows if not self.is_done(row)]
      for number, row in enumerate(self.rows, 1):
        if row not in pending:
          self.print_row(number, row, "done before")
          continue
        row_start = time.monotonic()
        try:
          status = self.train_row(row)
        # A row that cannot be trained, because it diverges say, is a result too.
        except ValueError as error:
          row.failed, status = str(error).replace("\n", " "), 0
        jax.clear_caches()
        self.write()
        if status:
          print(f"{path}: stopped; the same command resumes it", file=sys.stderr)
          return status
        trained += 1
        now = time.monotonic()
        left = (now - start) / trained * (len(pending) - trained)
        text = f"{now - row_start:.0f} s"
        if left:
          text += f", about {left / 60:.0f} min left"
        self.print_row(number, row, text)
    print(f"{path}: done; see {path / 'report.html'}", file=sys.stderr)
    return int(any(row.failed for row in self.rows))

  def count(self) -> int:
    """Writes the tables of what is done, with parameters and FLOPs of all rows, and
    trains nothing; raises as `run`."""
    with self._claimed():
      print((self.directory / "table.md").read_text(encoding="utf-8"), end="")
    return 0

  @contextlib.contextmanager
  def _claimed(self) -> Iterator[None]:
    """The directory locked, its results read and its tables written."""
    with claim(self.directory, "table.md", "study"):
      for row in self.rows:
        self.read_results(row)
      self.write()
      yield

  def is_done(self, row: RowResults) -> bool:
    """Whether every seed of a row has its result."""
    return len(row.results) == len(self.study.seeds)

  def read_results(self, row: RowResults) -> None:
    """Reads the results of a row's seeds, up to the first that has none."""
    row.results = []
    for config, path in self.seeds(row):
      result = Result.read(path, config, self.study.held_out)
      if result is None:
        return
      row.results.append(result)

  def seeds(self, row: RowResults) -> list[tuple[Config, Path]]:
    """The experiment and directory of each seed of a row."""
    folder = self.directory / "rows" / row.row.directory
    return [
      (replace(row.config, seed=seed), folder / f"seed-{seed}")
      for seed in self.study.seeds
    ]

  def train_row(self, row: RowResults) -> int:
    """Trains and scores the seeds of a row that have no result; the exit status."""
    for config, path in self.seeds(row)[len(row.results) :]:
      with redirected(path.with_name(f"{path.name}.log")):
        status = train(config, path)
        if status:
          return status
        result = score(path, self.study.held_out)
      result.write(path)
      row.results.append(result)
    return 0

  def write(self) -> None:
    """Writes tables, figure and report of what is done."""
    table.write(self.directory, self.study, self.rows, self.about())

  def about(self) -> str:
    """How it was made, in a sentence."""
    seeds = ", ".join(map(str, self.study.seeds))
    return (
      f"{len(self.rows)} rows, seeds {seeds}, on {jax.devices()[0].device_kind} "
      f"x {len(jax.devices())}."
    )

  def print_row(self, number: int, row: RowResults, text: str) -> None:
    """Prints a row's scores, or why it failed."""
    scores = ", ".join(
      f"{column} {summary}"
      for column in self.study.columns
      if (summary := row.summary(column))
    )
    result = f"failed: {row.failed}" if row.failed else scores
    print(
      f"[{number}/{len(self.rows)}] {row.row.name}: {result} ({text})",
      file=sys.stderr, flush=True,
    )  # fmt: skip


@contextlib.contextmanager
def redirected(file: Path) -> Iterator[None]:
  """A context in which everything printed is appended to a file."""
  file.parent.mkdir(parents=True, exist_ok=True)
  with (
    file.open("a", encoding="utf-8") as out,
    contextlib.redirect_stdout(out),
    contextlib.redirect_stderr(out),
  ):
    yield
