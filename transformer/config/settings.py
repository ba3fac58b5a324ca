"""Every setting of a config with its type and meaning, and the one that a wrong name
means."""

import dataclasses
import difflib
import functools
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any, NamedTuple

from transformer.config.recipes import annotations, written
from transformer.config.synonyms import synonyms
from transformer.config.validation import describe

SECTION = re.compile(r"^Attributes:\n((?: .*(?:\n|$)|\n)*)", re.MULTILINE)
ENTRY = re.compile(r"^  (\w+(?:, \w+)*): ", re.MULTILINE)
HELP = "help"
"""The name by which the settings are asked for, `--config.help`."""


class Setting(NamedTuple):
  """One field of a config, at any depth."""

  path: str
  value: Any
  annotation: Any
  meaning: str


def settings(config: Any, prefix: str = "") -> Iterator[Setting]:
  """Every setting of a config in the order of declaration, each before those inside its
  value."""
  cls: Any = type(config)
  meanings = field_meanings(cls)
  for name, annotation in annotations(cls).items():
    value, path = getattr(config, name), f"{prefix}{name}"
    yield Setting(path, value, annotation, meanings.get(name, ""))
    if dataclasses.is_dataclass(value):
      yield from settings(value, f"{path}.")


@functools.cache
def field_meanings(cls: type) -> dict[str, str]:
  """What the fields of a dataclass mean, from the section `Attributes:` of its
  docstring and of those of its base classes."""
  meanings: dict[str, str] = {}
  for base in reversed(cls.__mro__):
    section = SECTION.search(inspect.cleandoc(base.__dict__.get("__doc__") or ""))
    if section is None:
      continue
    words = ENTRY.split(section[1])[1:]
    for names, text in zip(words[::2], words[1::2], strict=True):
      meanings |= dict.fromkeys(names.split(", "), " ".join(text.split()))
  return meanings


def format_settings(config: Any) -> str:
  """All settings of a config for a terminal: path and value, then type and meaning."""
  lines = []
  for path, value, annotation, meaning in settings(config):
    lines.append(f"{path} = {written(value)}")
    text = f"{meaning} ({describe(annotation)})"
    lines += textwrap.wrap(
      text, 88, initial_indent="    ", subsequent_indent="    ", break_long_words=False
    )
  return "\n".join(lines)


def help_asked(overrides: list[tuple[str, str | None]]) -> bool:
  """Whether `--config.help` is among the overrides; it is taken out of them."""
  asked = (HELP, None) in overrides
  overrides[:] = [pair for pair in overrides if pair != (HELP, None)]
  return asked


def suggest(name: str, config: Any, cls: type, prefix: str | None = None) -> str:
  """The settings of `config` that a wrong name may mean, as `did you mean …?`; empty if
  there are none.

  In this order: settings of this name at another depth, the setting that other toolkits
  call so, the nearest name in `cls`, the nearest at any depth.

  Args:
    name: what was given.
    config: the whole config.
    cls: the class that has no such field.
    prefix: the path of its instance; None for a recipe that is just being written,
      whose own fields come first.
  """
  known = {setting.path: setting for setting in settings(config)}
  same = [path for path in known if path.rpartition(".")[2] == name]
  near = difflib.get_close_matches(name, annotations(cls), n=1, cutoff=0.5)
  if prefix is None and near:
    return f"did you mean {near[0]}?"
  if same and prefix is not None:
    shallowest = min(path.count(".") for path in same)
    same = [path for path in same if path.count(".") == shallowest]
    return f"did you mean {' or '.join(same)}?"
  for path in synonyms(name):
    if path in known:
      return f"did you mean {path}, {known[path].meaning.rstrip('.')}?"
  own = {each: f"{prefix}.{each}" if prefix else each for each in near}
  # At equal distance the class's own field, then the shallowest.
  nearest = own | {
    path.rpartition(".")[2]: path
    for path in sorted(known, key=lambda path: -path.count("."))
  }
  close = difflib.get_close_matches(name, nearest, n=1) or near
  return f"did you mean {({**nearest, **own})[close[0]]}?" if close else ""
