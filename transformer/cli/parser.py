"""The parser of a verb: its help describes the recipes that its flags take, and the
user's own are known to it."""

import argparse
import dataclasses
import importlib
import pkgutil
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from transformer import config as configs
from transformer.cli import streams

NEGATIVE_NUMBER = re.compile(r"-(\d|\.\d|inf$|nan$)", re.IGNORECASE)
"""How the value of a flag begins that is no flag itself, as -1e300."""


def is_flag(word: str) -> bool:
  """Whether argparse takes a word for a flag, known or not, rather than for a text."""
  if word == "-" or " " in word or NEGATIVE_NUMBER.match(word):
    return False
  return word.startswith("-")


class CommandParser(argparse.ArgumentParser):
  """A parser whose errors are one line, `error: --flag: …`, and whose help is an error
  where it cannot be written."""

  def __init__(self, *arguments, **settings):
    super().__init__(*arguments, **settings)
    # By itself argparse takes -1e300 for a flag.
    self._negative_number_matcher = NEGATIVE_NUMBER
    for kind, convert in ((int, to_integer), (float, to_number), (Path, to_path)):
      self.register("type", kind, convert)

  def error(self, message: str):
    text = message.removeprefix("argument ")
    if text == message:
      text += f"; see {self.prog} --help"
    print("error:", text.replace("\n", "\\n"), file=sys.stderr)
    self.exit(2)

  def print_help(self, file=None) -> None:
    # By itself argparse ignores that standard output is closed or full.
    streams.check_open()
    print(self.format_help(), end="", file=file)


def to_integer(text: str) -> int:
  """What a flag's value writes; raises ArgumentTypeError."""
  try:
    return int(text)
  except ValueError:
    raise unexpected("an integer", text) from None


def to_number(text: str) -> float:
  """What a flag's value writes; raises ArgumentTypeError."""
  try:
    return float(text)
  except ValueError:
    raise unexpected("a number", text) from None


def to_path(text: str) -> Path:
  """The path; raises ArgumentTypeError if it is empty, for `Path` takes that for the
  working directory."""
  if not text:
    raise unexpected("a path", text)
  return Path(text)


def one_of(choices: Iterable[str]) -> Callable[[str], str]:
  """The check that a flag's value is one of `choices`."""

  def check(text: str) -> str:
    if text not in choices:
      raise unexpected(" or ".join(choices), text)
    return text

  return check


def unexpected(expected: str, text: str) -> argparse.ArgumentTypeError:
  """The error of a flag's value."""
  got = configs.abbreviate(repr(text))
  return argparse.ArgumentTypeError(f"expected {expected}, got {got}")


class VerbParser(CommandParser):
  """The parser of one verb; its help ends in the recipes that its flags take."""

  def __init__(self, *arguments, **settings):
    settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
    super().__init__(*arguments, **settings)
    self._families: list[tuple[str, str, str]] = []

  def add_argument(self, *names, **settings):
    # Without a default, argparse's error would call even an optional list required.
    if settings.get("nargs") == "*":
      settings.setdefault("default", [])
    if "choices" in settings:
      settings.setdefault("type", one_of(settings["choices"]))
    return super().add_argument(*names, **settings)

  def add_recipe_argument(self, flag: str, family: str, text: str, **settings) -> None:
    """A flag that takes a member of a recipe family, named `module:Class`."""
    self.add_argument(flag, metavar="RECIPE", help=f"{text}; see below", **settings)
    self._families.append((flag, family, text))

  def format_help(self) -> str:
    text = super().format_help()
    for flag, family, what in self._families:
      lines = [f"{flag} RECIPE: {what}", *describe_members(import_class(family))]
      text += "\n" + "".join(
        textwrap.fill(line, 78, initial_indent="  " * bool(i), subsequent_indent="    ")
        + "\n"
        for i, line in enumerate(lines)
      )
    return text


def import_class(name: str) -> type:
  """The class that `module:Class` names; if it is the base of a package, whose members
  are in the other modules, these are imported too."""
  path, _, attribute = name.partition(":")
  module = importlib.import_module(f"transformer.{path}")
  if path.endswith(".base"):
    package = importlib.import_module(module.__package__ or "")
    for each in pkgutil.iter_modules(package.__path__):
      importlib.import_module(f"{package.__name__}.{each.name}")
  return getattr(module, attribute)


def describe_members(family: type) -> Iterator[str]:
  """A line for every member of a recipe family: how to write it, and what it does."""
  for name, member in configs.members(family).items():
    fields: list[Any] = [f for f in dataclasses.fields(member) if f.init]
    values = ", ".join(
      field.name
      if field.default is dataclasses.MISSING
      else f"{field.name}={field.default!r}"
      for field in fields
    )
    summary = (member.__doc__ or "").split("\n\n")[0]
    yield f"{name}({values}): {' '.join(summary.split())}"


class ImportFile(argparse.Action):
  """Runs a Python file as soon as its flag is read, so that the recipes which it
  defines are known to the flags after it and to `--help`."""

  def __call__(self, parser, namespace, values, option_string=None):
    from transformer import experiment

    experiment.import_file(values)


def add_import(parser: argparse.ArgumentParser) -> None:
  """Python files of the user's own, before the verb or after it."""
  parser.add_argument(
    "--import", action=ImportFile, type=Path, metavar="FILE", dest=argparse.SUPPRESS,
    help="run this Python file first, so that a run may use the recipes that it "
    "defines; can be repeated",
  )  # fmt: skip
