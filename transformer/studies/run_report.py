"""Several runs side by side: curves, settings, stored scores and samples, as one page.

Everything is read from the runs' own files, so a run may still be training, may have
been interrupted, and may have come from another machine.
"""

import csv
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from transformer import config as configs
from transformer.experiment import Config
from transformer.inspection.page import assemble
from transformer.runs.directory import read_inside
from transformer.runs.report import SAMPLES, STORED_SAMPLES
from transformer.studies.compare_runs import names
from transformer.studies.curves import describe_metrics, directions, read_curves
from transformer.studies.evaluations import Evaluation, read_evaluations
from transformer.studies.rows import directory_name
from transformer.studies.settings_table import settings_table


class RunFiles(NamedTuple):
  """A run as far as a report reads it.

  Attributes:
    name: what differs in its path from the others'.
    path: its directory.
    config: its experiment.
    evaluations: what `transformer evaluate` stored.
  """

  name: str
  path: Path
  config: Config
  evaluations: list[Evaluation]


def report_page(paths: Sequence[Path]) -> str:
  """The page of runs, and of the rows of studies.

  Raises:
    FileNotFoundError, ValueError: one of the paths is neither, or is damaged.
  """
  runs = read_runs(paths)
  title = runs[0].path.resolve().name if len(runs) == 1 else f"{len(runs)} runs"
  return assemble("report", f"Report: {title}", record(runs), parts=("curves",))


def read_runs(paths: Sequence[Path]) -> list[RunFiles]:
  """The runs that paths name, a study's as its rows; each run once."""
  found: dict[Path, Path] = {}
  for path in paths:
    for run in run_directories(path):
      found.setdefault(run.resolve(), run)
  directories = list(found.values())
  runs = []
  for name, path in zip(names(list(found)), directories, strict=True):
    text = read_inside(path, "config.json").decode("utf-8-sig")
    try:
      config = configs.loads(Config, text)
    except ValueError as error:
      raise ValueError(f"{path}: {error}") from None
    runs.append(RunFiles(name, path, config, read_evaluations(path)))
  return runs


def run_directories(path: Path) -> list[Path]:
  """A run's own directory; of a study those of its rows and seeds, as the table orders
  them, as far as they have begun.

  Raises:
    FileNotFoundError: it is neither, or no row has begun.
  """
  if (path / "config.json").is_file():
    return [path]
  rows = path / "rows"
  if not rows.is_dir():
    raise FileNotFoundError(
      f"{path}: not a run (it has no config.json) and not a study (it has no rows)"
    )
  found = [file.parent for file in rows.glob("*/seed-*/config.json")]
  if not found:
    raise FileNotFoundError(f"{path}: a study of which no row has begun")
  order: list[str] = []
  if (path / "table.csv").is_file():
    with (path / "table.csv").open(encoding="utf-8", newline="") as file:
      order = [directory_name(row["row"]) for row in csv.DictReader(file)]

  def key(run: Path) -> tuple[int, str, int]:
    name, seed = run.parent.name, run.name.removeprefix("seed-")
    number = order.index(name) if name in order else len(order)
    return number, name, int(seed) if seed.isdigit() else 0

  return sorted(found, key=key)


def record(runs: Sequence[RunFiles]) -> dict[str, Any]:
  """All that the page shows, as dicts and lists."""
  lower = directions([run.config.task for run in runs])
  curves = read_curves([run.path for run in runs], lower)
  return {
    "runs": [
      describe(run) | each for run, each in zip(runs, curves, strict=True)
    ],
    "metrics": describe_metrics(lower, curves),
    "settings": settings_table([run.config for run in runs]),
    "evaluations": [
      {"run": number, **each.record()}
      for number, run in enumerate(runs)
      for each in run.evaluations
    ],
    "samples": samples(runs),
  }  # fmt: skip


def describe(run: RunFiles) -> dict[str, Any]:
  """What a run is, and how far it has come."""
  config = run.config
  return {
    "name": run.name,
    "task": type(config.task).__name__,
    "model": type(config.model).__name__,
    "data": configs.written(config.data),
    "steps": config.steps,
    "reported": (run.path / "report.md").is_file(),
  }


def samples(runs: Sequence[RunFiles]) -> list[dict[str, Any]]:
  """The stored outputs, those of the same texts side by side."""
  groups: dict[str, dict[str, Any]] = {}
  for number, run in enumerate(runs):
    for title, rows in stored_samples(run):
      texts = "\0".join(f"{source}\0{target}" for source, _, target in rows)
      key = hashlib.sha256(texts.encode()).hexdigest()
      group = groups.setdefault(
        key,
        {"titles": [], "texts": [[row[0], row[2]] for row in rows], "outputs": []},
      )
      group["titles"] += [] if title in group["titles"] else [title]
      group["outputs"].append([number, [row[1] for row in rows]])
  return list(groups.values())


def stored_samples(run: RunFiles) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
  """What a run's last evaluation in training and `transformer evaluate` stored: a title
  and rows of `(input, output, target)` each; an input is empty where it was not
  stored."""
  try:
    stored = configs.parse_json((run.path / SAMPLES).read_bytes())
    rows = [(str(a), str(b), str(c)) for a, b, c in stored["rows"]]
    yield f"{stored['split']}, evaluated in training", rows
  except (OSError, ValueError, KeyError, TypeError):
    pass  # not stored by an older version, or not yet
  for each in run.evaluations:
    texts = each.sources or [""] * len(each.outputs), each.outputs, each.references
    rows = list(zip(*texts, strict=False))[:STORED_SAMPLES]
    if rows:
      yield each.name, rows
