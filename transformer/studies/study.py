"""A study: one base experiment, rows that change it, seeds, and what is reported."""

import dataclasses
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformer import config as configs
from transformer import experiment
from transformer.experiment import Config
from transformer.studies.facts import Facts
from transformer.studies.figures import Dots, Figure
from transformer.studies.rows import HeldOut, Row


@dataclasses.dataclass(frozen=True)
class Study:
  """A question put to one trainer.

  The first row is the base that the others are held against.

  Attributes:
    title: the question.
    base: the experiment that rows change.
    rows: what is changed.
    columns: scores to report, `set/score`: those of the task, and `perplexity`, e to
      the loss.
    seeds: each row is trained once with each.
    held_out: what rows are scored on.
    published: columns, or `parameters`, beside which the paper's own figures stand.
    figure: how the table is drawn.
    notes: sentences for the reader, below the table.
  """

  title: str
  base: Config
  rows: tuple[Row, ...]
  columns: tuple[str, ...] = ("val/loss",)
  seeds: tuple[int, ...] = (0, 1, 2)
  held_out: tuple[HeldOut, ...] = (HeldOut(),)
  published: tuple[str, ...] = ()
  figure: Figure = Dots()
  notes: tuple[str, ...] = ()

  def __post_init__(self):
    names: Sequence
    if not self.rows or not self.seeds:
      raise ValueError("study: it needs at least one row and one seed")
    for what, names in (
      ("rows", [row.directory for row in self.rows]),
      ("seeds", self.seeds),
      ("held_out", [held_out.name for held_out in self.held_out]),
    ):
      if len(set(names)) < len(names):
        raise ValueError(
          f"study.{what}: two have one name ({', '.join(map(str, names))})"
        )
    for row in self.rows:
      if row.published and len(row.published) != len(self.published):
        raise ValueError(
          f"study.rows: {row.name!r} has {len(row.published)} published figures for "
          f"{len(self.published)} columns"
        )
    scores = (*self.base.task.scores, "perplexity")
    known = [f"{one.name}/{score}" for one in self.held_out for score in scores]
    for what, names, allowed in (
      ("columns", self.columns, known),
      ("published", self.published, (*self.columns, "parameters")),
    ):
      for name in names:
        if name not in allowed:
          raise ValueError(
            f"study.{what}: there is no {name!r}; there are {', '.join(allowed)}"
          )

  def configs(self) -> list[tuple[Config, str]]:
    """The experiment of every row, and what matching chose.

    Raises:
      ValueError: a row's setting is none.
    """
    found: list[tuple[Config, str]] = []
    for row in self.rows:
      config = self.base
      try:
        for setting in row.settings:
          name, equals, text = setting.partition("=")
          config = configs.override(config, name, text if equals else None)
        config, chosen = row.match.fit(config, found[0][0] if found else config)
      except ValueError as error:
        raise ValueError(f"row {row.name!r}: {error}") from None
      found.append((config, chosen))
    return found


def read(path: Path, overrides: list[tuple[str, str | None]]) -> Study | Facts:
  """The study that a Python file's `get_study` returns.

  Overrides named like a parameter of `get_study` are passed to it; all others change
  the base.

  Raises:
    FileNotFoundError, ValueError: there is no such file, or it gives no study, or facts
      are given a setting.
  """
  function = experiment.load_function(path, "get_study")
  parameters = inspect.signature(function, eval_str=True).parameters
  options: dict[str, Any] = {}
  rest = []
  for name, text in overrides:
    if name in parameters:
      where, kind = f"--config.{name}", parameters[name].annotation
      options[name] = configs.parse(text or "", kind, where)
    else:
      rest.append((name, text))
  try:
    study = function(**options)
  except Exception as error:
    raise ValueError(f"{path}: {type(error).__name__}: {error}") from error
  if isinstance(study, Facts) and not rest:
    return study
  if isinstance(study, Facts):
    raise ValueError(f"--config.{rest[0][0]}: {path} has no base to change")
  if not isinstance(study, Study):
    raise ValueError(f"{path}: get_study() returns {type(study).__name__}, no Study")
  base = study.base
  for name, text in rest:
    base = configs.override(base, name, text)
  return dataclasses.replace(study, base=base)
