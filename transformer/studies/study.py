"""A study: one base experiment, rows that change it, seeds, and what is reported."""

import dataclasses
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformer import config as configs
from transformer import experiment
from transformer.experiment import Config
from transformer.studies.budget import Budget
from transformer.studies.claims import Claims
from transformer.studies.fields import check_fields
from transformer.studies.figures import DotPlot, Figure
from transformer.studies.rows import HeldOut, Row, names_directory
from transformer.studies.sweep import Sweep
from transformer.tasks.base import PERPLEXITY, Metric


@dataclasses.dataclass(frozen=True)
class Study:
  """One base experiment and rows that change it.

  The first row is the one that the others are compared with.

  Attributes:
    title: the question.
    base: the experiment that rows change.
    rows: what is changed.
    columns: scores to report, `set/score`: those of the task, and `perplexity`, which
      is e to the loss.
    seeds: each row is trained once with each.
    held_out: what rows are scored on.
    sweep: settings that are tried for each row before it is trained.
    budget: how long each trial and each seed is trained.
    published: columns, or `parameters`, for which the paper prints figures.
    figure: how the table is drawn.
    notes: sentences below the table.
  """

  title: str
  base: Config
  rows: tuple[Row, ...]
  columns: tuple[str, ...] = ("val/loss",)
  seeds: tuple[int, ...] = (0, 1, 2)
  held_out: tuple[HeldOut, ...] = (HeldOut(),)
  sweep: Sweep = Sweep()
  budget: Budget = Budget()
  published: tuple[str, ...] = ()
  figure: Figure = DotPlot()
  notes: tuple[str, ...] = ()

  def __post_init__(self):
    names: Sequence
    check_fields(self)
    if not self.rows or not self.seeds:
      raise ValueError("study: it needs at least one row and one seed")
    for what, names in (
      ("rows", [row.directory for row in self.rows]),
      ("seeds", self.seeds),
      ("held_out", [held_out.name for held_out in self.held_out]),
      ("sweep.settings", [point.directory for point in self.sweep.points]),
    ):
      if len(set(names)) < len(names):
        raise ValueError(
          f"study.{what}: two have one name ({', '.join(map(str, names))})"
        )
    configs.check_at_least("study.seeds", min(self.seeds), 0)
    for row in (*self.rows, *self.sweep.points):
      if not names_directory(row.directory):
        raise ValueError(
          f"study.rows: {configs.abbreviate(repr(row.name))} cannot name a directory"
        )
    for row in self.rows:
      if row.published and len(row.published) != len(self.published):
        raise ValueError(
          f"study.rows: {row.name!r} has {len(row.published)} published figures for "
          f"{len(self.published)} columns"
        )
    if self.sweep.settings and self.sweep.seed in self.seeds:
      raise ValueError(
        f"study.sweep: its seed, {self.sweep.seed}, is one of the study's; choose "
        "another, so that no reported score had a part in the choice"
      )
    self.base.task.metric(self.sweep.metric_of(self.base))
    allowed_columns = [
      f"{one.name}/{metric.name}" for one in self.held_out for metric in self.metrics
    ]
    for what, names, allowed in (
      ("columns", self.columns, allowed_columns),
      ("published", self.published, (*self.columns, "parameters")),
      ("figure", self.figure.named_columns(), self.columns),
    ):
      for name in names:
        if name not in allowed:
          raise ValueError(
            f"study.{what}: there is no {name!r}; there are {', '.join(allowed)}"
          )

  @property
  def metrics(self) -> tuple[Metric, ...]:
    """The scores of the task, and perplexity."""
    return tuple(dict.fromkeys((*self.base.task.scores, PERPLEXITY)))

  def metric(self, column: str) -> Metric:
    """The metric of a column, `set/score`."""
    name = column.rpartition("/")[2]
    return next(metric for metric in self.metrics if metric.name == name)

  def configs(self) -> list[tuple[Config, str]]:
    """The experiment of every row, and the size that matching chose.

    Raises:
      ValueError: a row changes what is not a setting of the base.
    """
    made: list[tuple[Config, str]] = []
    for row in self.rows:
      try:
        config = row.apply(self.base)
        config, size = row.match.fit(config, made[0][0] if made else config)
        for point in self.sweep.points:
          point.apply(config)
        made.append((config, size))
      except ValueError as error:
        raise ValueError(f"row {row.name!r}: {error}") from None
    return made


def read(path: Path, overrides: list[tuple[str, str | None]]) -> Study | Claims:
  """The study that a Python file's `get_study` returns.

  Overrides named like a parameter of `get_study` are passed to it; all others change
  the base.

  Raises:
    FileNotFoundError, ValueError: there is no such file, it returns no study, or a
      setting is to be changed in a study that has no base.
  """
  function = experiment.load_function(path, "get_study")
  try:
    parameters = inspect.signature(function, eval_str=True).parameters
  except Exception as error:
    raise ValueError(f"{path}: get_study: {type(error).__name__}: {error}") from error
  options: dict[str, Any] = {}
  rest = []
  for name, text in overrides:
    if name in parameters:
      where, kind = f"--config.{name}", parameters[name].annotation
      kind = str if kind is inspect.Parameter.empty else kind
      options[name] = configs.parse(text or "", kind, where)
    else:
      rest.append((name, text))
  try:
    study = function(**options)
  except Exception as error:
    raise ValueError(f"{path}: {type(error).__name__}: {error}") from error
  if isinstance(study, Claims) and not rest:
    return study
  if isinstance(study, Claims):
    raise ValueError(f"--config.{rest[0][0]}: {path} has no base to change")
  if not isinstance(study, Study):
    raise ValueError(f"{path}: get_study() returns {type(study).__name__}, not a Study")
  base = study.base
  for name, text in rest:
    if name == "seed":
      raise ValueError("--config.seed: a study has seeds of its own; give --seeds")
    base = configs.override(base, name, text)
  return dataclasses.replace(study, base=base)
