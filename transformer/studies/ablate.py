"""The rows of a study, one after another, each through the one trainer.

  DIR/rows/ROW/seed-N   a run as any other: resumed, evaluated and used like one
  DIR/rows/ROW/seed-N.log   what the trainer printed
  DIR/rows/ROW/trials/POINT   a run for each trial of a sweep
  DIR/budget.json   what an update takes, where the study has a budget
  DIR/table.md, table.csv, figure.png, report.html   as far as rows are done
  DIR/trials.csv    the scores of a sweep

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
from transformer.runs.training_log import Diverged
from transformer.studies import sweep, table
from transformer.studies.budget import Measurements
from transformer.studies.result import Result, fingerprint, score
from transformer.studies.row_results import RowResults
from transformer.studies.study import Study
from transformer.studies.sweep import SCORED_ON, Trial


class Ablation:
  """A study in its directory."""

  def __init__(self, study: Study, directory: Path):
    """Reads and trains nothing yet.

    Raises:
      ValueError: a row changes what is not a setting of the base.
    """
    self.study, self.directory = study, Path(directory)
    self.measurements = Measurements(self.directory)
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
        except (ValueError, MemoryError) as error:
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
    """Reads the trials of a row and the results of its seeds, each up to the first that
    has none."""
    row.trained, row.trials, row.chosen, row.results = None, [], None, []
    for config, path in self.trials(row):
      trial = Trial.read(path, config)
      if trial is None:
        return
      row.trials.append(trial)
    with contextlib.suppress(ValueError):  # every trial failed
      self.choose(row)
    for config, path in self.seeds(row):
      result = Result.read(path, config, self.study.held_out)
      if result is None:
        return
      row.results.append(result)

  def choose(self, row: RowResults) -> None:
    """Decides what the seeds of a row train, as far as that is known.

    Raises:
      ValueError: every trial failed.
    """
    row.trained, configs = None, self.budgeted(row)
    if not configs:
      return
    if self.study.sweep.points:
      metric = self.study.sweep.metric_of(row.config)
      row.chosen = sweep.best(row.trials, row.config, metric)
    row.trained = configs[row.chosen or 0]

  def folder(self, row: RowResults) -> Path:
    """The directory of a row."""
    return self.directory / "rows" / row.row.directory

  def experiments(self, row: RowResults) -> list[Config]:
    """The experiment of a row at each point of the sweep; without one, as it is."""
    points = self.study.sweep.points
    return [point.apply(row.config) for point in points] or [row.config]

  def budgeted(self, row: RowResults) -> list[Config]:
    """Those, each for as long as the budget allows; none before all are measured."""
    found = [
      self.measurements.config(self.study.budget, config)
      for config in self.experiments(row)
    ]
    known = [config for config in found if config is not None]
    return known if len(known) == len(found) else []

  def measure(self, row: RowResults) -> int:
    """Measures what an update takes at each point of the sweep, where that is not
    known; the exit status."""
    budget = self.study.budget
    for config in self.experiments(row):
      # A setting that makes no difference may be one at which training diverges.
      config = budget.part(config, row.config)
      if self.measurements.config(budget, config) is None:
        with redirected(self.folder(row) / "budget.log"):
          status = self.measurements.measure(budget, config)
        if status:
          return status
    return 0

  def trials(self, row: RowResults) -> list[tuple[Config, Path]]:
    """The experiment and directory of each trial of a row, once its budget is known."""
    folder, shorten = self.folder(row) / "trials", self.study.sweep.shorten
    points = zip(self.study.sweep.points, self.budgeted(row), strict=False)
    return [(shorten(config), folder / point.directory) for point, config in points]

  def seeds(self, row: RowResults) -> list[tuple[Config, Path]]:
    """The experiment and directory of each seed of a row, once its trials are done."""
    if row.trained is None:
      return []
    return [
      (replace(row.trained, seed=seed), self.folder(row) / f"seed-{seed}")
      for seed in self.study.seeds
    ]

  def train_row(self, row: RowResults) -> int:
    """Trains and scores what is not done of a row, its trials first; the exit status.

    Raises:
      ValueError: it cannot be trained, or every trial failed.
    """
    status = self.measure(row)
    if status:
      return status
    for config, path in self.trials(row)[len(row.trials) :]:
      status = self.train_trial(row, config, path)
      if status:
        return status
    self.choose(row)
    for config, path in self.seeds(row)[len(row.results) :]:
      with redirected(path.with_name(f"{path.name}.log")):
        status = train(config, path)
        if status:
          return status
        result = score(path, config, self.study.held_out)
      result.write(path)
      row.results.append(result)
    return 0

  def train_trial(self, row: RowResults, config: Config, path: Path) -> int:
    """Trains one trial of a row; the exit status. One that diverges is a result too."""
    metric = self.study.sweep.metric_of(config)
    try:
      with redirected(path.with_name(f"{path.name}.log")):
        status = train(config, path)
      if status:
        return status
      trial = Trial.of_run(path, config, metric)
    except Diverged as error:
      trial = Trial(fingerprint(config, SCORED_ON), None, str(error))
    trial.write(path)
    row.trials.append(trial)
    jax.clear_caches()
    print(
      f"  {row.row.name}: {path.name}: {metric} "
      f"{'diverged' if trial.score is None else f'{trial.score:.4g}'}",
      file=sys.stderr, flush=True,
    )  # fmt: skip
    return 0

  def write(self) -> None:
    """Writes tables, figure and report of what is done."""
    runs = [[path for _, path in self.seeds(row)] for row in self.rows]
    table.write(self.directory, self.study, self.rows, self.about(), runs)

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
