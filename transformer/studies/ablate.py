"""The rows of a study, one after another, each through the one trainer.

  DIR/rows/ROW/seed-N   a run as any other: resumed, evaluated and used like one
  DIR/rows/ROW/seed-N.log   what the trainer had to say
  DIR/table.md, table.csv, figure.png, report.html   as far as rows are done

A row that is done is not trained again, and one that was stopped goes on.
"""

import contextlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import jax

from transformer.analysis.counts import count
from transformer.experiment import Config
from transformer.runs.metrics import write_whole
from transformer.runs.processes import Lock
from transformer.runs.run import foreign
from transformer.runs.trainer import train
from transformer.studies import table
from transformer.studies.entry import Entry
from transformer.studies.result import Result, score
from transformer.studies.study import Study
from transformer.studies.together import Ratio, opened

RATIO = "together.json"
"""Seconds of a step of all seeds as one program, and one by one."""


class Ablation:
  """A study being done in a directory."""

  def __init__(self, study: Study, directory: Path, together: bool = False):
    """Reads what is done already; trains nothing.

    Args:
      study: what to do.
      directory: where.
      together: the seeds of a row as one vmapped program, instead of one by one.

    Raises:
      ValueError: a row's setting is none.
    """
    self.study, self.directory, self.together = study, Path(directory), together
    self.ratio: Ratio | None = None
    self.entries = [
      Entry(row, config, chosen, count(config))
      for row, (config, chosen) in zip(study.rows, study.configs(), strict=True)
    ]

  def go(self) -> int:
    """Trains what is not done, row by row; the exit status: 0, that of SIGTERM, or 1
    where a row failed.

    Raises:
      ValueError, OSError: the directory is in use or something else.
    """
    path = self.directory
    with self.held():
      begun, trained = time.monotonic(), 0
      waiting = [entry for entry in self.entries if not self.done(entry)]
      for number, entry in enumerate(self.entries, 1):
        if entry not in waiting:
          self.tell(number, entry, "done before")
          continue
        start = time.monotonic()
        try:
          status = self.row(entry)
        # A row that cannot be trained, because it diverges say, is a finding too.
        except ValueError as error:
          entry.failed, status = str(error).replace("\n", " "), 0
        jax.clear_caches()
        self.write()
        if status:
          print(f"{path}: stopped; the same command goes on", file=sys.stderr)
          return status
        trained += 1
        left = (time.monotonic() - begun) / trained * (len(waiting) - trained)
        self.tell(
          number, entry, f"{time.monotonic() - start:.0f} s, about "
          f"{left / 60:.0f} min left" if left else f"{time.monotonic() - start:.0f} s",
        )  # fmt: skip
    print(f"{path}: done; see {path / 'report.html'}", file=sys.stderr)
    return int(any(entry.failed for entry in self.entries))

  def count(self) -> int:
    """Writes the tables of what is done, with parameters and FLOPs of all rows, and
    trains nothing; errors as `go`."""
    with self.held():
      print((self.directory / "table.md").read_text(encoding="utf-8"), end="")
    return 0

  @contextlib.contextmanager
  def held(self):
    """The directory locked, and what is done in it read and written down."""
    path = self.directory
    if not (path / "table.md").is_file() and foreign(path):
      raise ValueError(
        f"{path}: no study and not empty; choose another --workdir or empty it"
      )
    with Lock(path):
      if (path / RATIO).is_file():
        self.ratio = Ratio(*json.loads((path / RATIO).read_text(encoding="utf-8")))
      for entry in self.entries:
        self.collect(entry)
      self.write()
      yield

  def done(self, entry: Entry) -> bool:
    """Whether every seed of a row has its result."""
    return len(entry.results) == len(self.study.seeds)

  def collect(self, entry: Entry) -> None:
    """Reads the results of a row's seeds, up to the first that has none."""
    entry.results = []
    for config, path in self.runs(entry):
      found = Result.read(path, config, self.study.held_out)
      if found is None:
        return
      entry.results.append(found)

  def runs(self, entry: Entry) -> list[tuple[Config, Path]]:
    """The experiment and directory of each seed of a row."""
    folder = self.directory / "rows" / entry.row.directory
    return [
      (replace(entry.config, seed=seed), folder / f"seed-{seed}")
      for seed in self.study.seeds
    ]

  def row(self, entry: Entry) -> int:
    """Trains and scores the seeds of a row that have no result; the exit status."""
    runs = self.runs(entry)[len(entry.results) :]
    at_once = self.together and len(runs) > 1
    if at_once:
      with quiet(log(runs[0][1])):
        status = self.all_at_once(runs)
      if status:
        return status
    for config, path in runs:
      with quiet(log(path)):
        status = 0 if at_once else train(config, path)
        if status:
          return status
        result = score(path, self.study.held_out)
      result.write(path)
      entry.results.append(result)
    return 0

  def all_at_once(self, runs: Sequence[tuple[Config, Path]]) -> int:
    """Trains seeds as one program; first of all takes the time of it, once."""
    with opened([config for config, _ in runs], [path for _, path in runs]) as seeds:
      if self.ratio is None:
        self.ratio = seeds.ratio()
        write_whole(self.directory / RATIO, json.dumps(self.ratio).encode())
      return seeds.go()

  def write(self) -> None:
    """Writes tables, figure and report of what is done."""
    table.write(self.directory, self.study, self.entries, self.about())

  def about(self) -> str:
    """How it was made, in a sentence."""
    study = self.study
    seeds = ", ".join(map(str, study.seeds))
    text = (
      f"{len(study.rows)} rows, seeds {seeds}, on {jax.devices()[0].device_kind} "
      f"x {len(jax.devices())}"
    )
    if self.ratio is None:
      return f"{text}; the seeds one by one."
    return (
      f"{text}; the seeds together: {1e3 * self.ratio.together:.1f} ms a step of all, "
      f"against {1e3 * self.ratio.alone:.1f} ms one by one, "
      f"{self.ratio.together / self.ratio.alone:.2f} times as much."
    )

  def tell(self, number: int, entry: Entry, text: str) -> None:
    """Prints the line of a row."""
    scores = [
      f"{column} {spread}"
      for column in self.study.columns
      if (spread := entry.spread(column))
    ]
    told = f"failed: {entry.failed}" if entry.failed else ", ".join(scores)
    print(
      f"[{number}/{len(self.entries)}] {entry.row.name}: {told} ({text})",
      file=sys.stderr, flush=True,
    )  # fmt: skip


def log(path: Path) -> Path:
  """Where the trainer's lines about a run go."""
  return path.with_name(f"{path.name}.log")


@contextlib.contextmanager
def quiet(file: Path):
  """A context in which whatever is printed goes to the end of a file."""
  file.parent.mkdir(parents=True, exist_ok=True)
  with (
    file.open("a", encoding="utf-8") as out,
    contextlib.redirect_stdout(out),
    contextlib.redirect_stderr(out),
  ):
    yield
