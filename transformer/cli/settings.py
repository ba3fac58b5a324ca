"""`transformer settings`: every setting with its type and meaning; takes no run."""

import dataclasses
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformer import config as configs
from transformer.cli import flags


def add_arguments(parser: flags.VerbParser) -> None:
  """A config, or none."""
  parser.add_argument(
    "config", metavar="CONFIG", type=Path, nargs="?",
    help="config file, as in train.py --config (default: all recipes, as Markdown)",
  )  # fmt: skip
  parser.set_defaults(overrides=[])


def run(arguments) -> None:
  """List every setting with its type, value and meaning.

  With CONFIG, those of the config, as `python train.py --config CONFIG --config.help`
  does. Without, those of all recipes with their defaults, a page of Markdown:
  docs/settings.md.
  """
  from transformer import experiment

  if arguments.config is None:
    configs.help_asked(arguments.overrides)
    if arguments.overrides:
      raise ValueError(f"--config.{arguments.overrides[0][0]}: give CONFIG too")
    print(page(experiment.Config), end="")
    return
  configs.help_asked(arguments.overrides)
  config = experiment.read_config(arguments.config)
  for name, text in arguments.overrides:
    config = configs.override(config, name, text)
  print(configs.format_settings(config))


INTRODUCTION = """\
# Settings

Made by `transformer settings`; a test compares the two. On the command lines of
`train.py`, `transformer plan` and `transformer ablate` a setting is written as
`--config.NAME=VALUE`, a recipe as a call, `--config.schedule='Cosine(rate=1e-3)'`, or
field by field, `--config.schedule.rate=1e-3`. `transformer settings CONFIG`, or
`python train.py --config CONFIG --config.help`, lists the settings of one config.
"""


def page(root: type) -> str:
  """Markdown of a config class and of every family of recipes that it reaches."""
  lines = [INTRODUCTION, f"## {root.__name__}", "", summary(root), "", *table(root)]
  for family in families(root):
    if family is root:
      continue
    members = configs.members(family)
    lines += [f"## {family.__name__}", ""]
    lines += [f"One of {', '.join(f'`{name}`' for name in members)}.", ""]
    # A recipe that others extend comes before them.
    ordered = [cls for each in members.values() for cls in reversed(each.__mro__)]
    for cls in dict.fromkeys(ordered):
      if cls in members.values():
        lines += [f"### {cls.__name__}", "", summary(cls), "", *table(cls, family)]
  return "\n".join(lines).rstrip() + "\n"


def families(root: type) -> list[type]:
  """The families that a config class reaches, in the order of its fields."""
  found: list[type] = []
  pending = [root]
  while pending:
    family = pending.pop(0)
    if any(issubclass(family, other) for other in found):
      continue
    found.append(family)
    for cls in configs.members(family).values():
      kinds = map(configs.family_of, configs.annotations(cls).values())
      pending += [kind for kind in kinds if kind is not None]
  return found


def summary(cls: type) -> str:
  """The first paragraph of a class's docstring."""
  return " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split())


def table(cls: type, family: type | None = None) -> Iterator[str]:
  """The fields of a recipe, without those of the recipe that it extends."""
  fields: dict[str, Any] = {f.name: f for f in dataclasses.fields(cls) if f.init}
  rows = {name: row(cls, field) for name, field in fields.items()}
  base = parent(cls, family)
  if base is not None:
    inherited = [row(base, f) for f in dataclasses.fields(base) if f.init]
    own = {name: text for name, text in rows.items() if text not in inherited}
    if len(own) < len(rows):
      yield f"{'Other settings' if own else 'Settings'} as in `{base.__name__}`."
      yield ""
    rows = own
  if rows:
    yield "| setting | default | type | meaning |"
    yield "| --- | --- | --- | --- |"
    yield from rows.values()
    yield ""


def parent(cls: type, family: type | None) -> type | None:
  """The recipe that a recipe extends, None if there is none with fields."""
  known = configs.members(family).values() if family else ()
  for base in cls.__mro__[1:]:
    if base in known and dataclasses.fields(base):
      return base
  return None


def row(cls: type, field: dataclasses.Field) -> str:
  """A field as a row of a table."""
  annotation = configs.annotations(cls)[field.name]
  family = configs.family_of(annotation)
  kind = f"[{family.__name__}](#{family.__name__.lower()})" if family else ""
  missing = field.default is dataclasses.MISSING
  default = "none: must be given" if missing else f"`{configs.written(field.default)}`"
  meaning = configs.field_meanings(cls).get(field.name, "")
  cells = (f"`{field.name}`", default, kind or configs.describe(annotation), meaning)
  return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
