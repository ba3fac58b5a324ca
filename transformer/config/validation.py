"""Values of config fields, checked against the fields' annotations."""

import dataclasses
import math
import typing
from typing import Any

from transformer.config.ranges import check_float, check_numbers
from transformer.config.recipes import (
  abbreviate,
  alternatives,
  annotations,
  family_of,
  members,
)

MAX_DEPTH = 16
"""How deep recipes may be nested."""

MAX_LENGTH = 65536
"""Most characters of a string, and most items of a tuple."""

INTEGER_LIMIT = 2**63
"""Integers are smaller than this in absolute value."""

NON_FINITE = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
"""How floats that are no setting are written; they are refused by name."""


class Mismatch(Exception):
  """A value does not have the expected type."""


def check(config: Any) -> None:
  """Checks every value against its annotation, at every depth.

  Raises:
    ValueError: with the path of the value, what was expected and what was got.
  """
  check_value(config, type(config), "config", 0)


def check_at_least(name: str, value: float, minimum: float) -> None:
  """Raises ValueError if the setting or flag `name` is below `minimum`."""
  if not value >= minimum:  # nan is neither above nor below
    raise ValueError(f"{name}: expected {minimum} or more, got {value}")


def check_value(value, annotation, path: str, depth: int) -> None:
  """`check` of one value that has an annotation."""
  if depth > MAX_DEPTH:
    raise ValueError(f"{path}: nested more than {MAX_DEPTH} levels deep")
  family, cls = family_of(annotation), type(value)
  if family is not None and isinstance(value, family):
    if cls.__name__.startswith("_"):
      raise ValueError(
        f"{path}: {cls.__name__} is private; a name without the underscore can be "
        "stored in config.json"
      )
    if cls.__hash__ is None:
      raise ValueError(f"{path}: {cls.__name__} is not hashable; use frozen=True")
    for name, field in annotations(cls).items():
      check_value(getattr(value, name), field, f"{path}.{name}", depth + 1)
    check_numbers(value, f"{path}.")
    return
  converted = convert(value, annotation, path, depth)
  if repr(converted) != repr(value):
    raise ValueError(
      f"{path}: {expected(annotation, abbreviate(repr(value)))}; write {converted!r}"
    )


def convert(value, annotation, path: str, depth: int):
  """A plain value as the type of an annotation.

  Raises:
    ValueError: it is of another type, or too large.
  """
  _check_size(value, path, depth)
  try:
    return coerce(value, annotation)
  except Mismatch:
    got = abbreviate(repr(value))
    raise ValueError(f"{path}: {expected(annotation, got)}") from None


def _check_size(value, path: str, depth: int) -> None:
  if depth > MAX_DEPTH:
    raise ValueError(f"{path}: nested more than {MAX_DEPTH} levels deep")
  if isinstance(value, list):
    raise ValueError(f"{path}: expected a tuple, got a list; use a tuple")
  if isinstance(value, float):
    check_float(path, value)
  if isinstance(value, int) and abs(value) >= INTEGER_LIMIT:
    raise ValueError(f"{path}: expected an integer smaller than 2**63")
  if isinstance(value, (str, tuple)) and len(value) > MAX_LENGTH:
    unit = "characters" if isinstance(value, str) else "items"
    raise ValueError(f"{path}: expected at most {MAX_LENGTH} {unit}, got {len(value)}")
  if isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value):
    raise ValueError(f"{path}: {abbreviate(repr(value))} is not valid Unicode")
  if isinstance(value, tuple):
    for item in value:
      _check_size(item, path, depth + 1)


def accepts(annotation, plain: type) -> bool:
  """Whether an annotation allows a plain type."""
  return plain in alternatives(annotation)


def choices(annotation) -> list[str]:
  """The strings that an annotation lists as literals."""
  literals = (
    each
    for each in alternatives(annotation)
    if typing.get_origin(each) is typing.Literal
  )
  return [s for each in literals for s in typing.get_args(each) if type(s) is str]


def coerce(value, annotation):
  """`value` as the plain type of `annotation`; numbers convert where nothing is lost.

  Raises:
    Mismatch: it has another type.
  """
  # The value's own type first: 1 stays an int under `float | int`.
  options = sorted(alternatives(annotation), key=lambda each: each is not type(value))
  for option in options:
    if typing.get_origin(option) is typing.Literal:
      if any(value == o and type(value) is type(o) for o in typing.get_args(option)):
        return value
    elif typing.get_origin(option) is tuple:
      if type(value) is tuple:
        items = typing.get_args(option)
        if len(items) == 2 and items[1] is Ellipsis:
          return tuple(coerce(item, items[0]) for item in value)
        if len(items) == len(value):
          return tuple(coerce(v, a) for v, a in zip(value, items, strict=True))
    elif option is bool or option is str or option is type(None):
      if type(value) is option:
        return value
    elif option is int:
      integral = type(value) is float and value.is_integer()
      if type(value) is int or (integral and abs(value) < INTEGER_LIMIT):
        return int(value)
    elif option is float and type(value) is float:
      return value
    elif option is float and type(value) is int and abs(value) < INTEGER_LIMIT:
      return float(value)
  raise Mismatch


def expected(annotation, got: str) -> str:
  """The message that a value is not what its annotation allows."""
  several = any(
    typing.get_origin(each) is tuple and typing.get_args(each)[-1:] == (Ellipsis,)
    for each in alternatives(annotation)
  )
  hint = f"; write ({got},)" if several and not got.startswith(("(", "[")) else ""
  return f"expected {describe(annotation)}, got {got}{hint}"


def describe(annotation) -> str:
  """What an annotation allows, in words."""
  parts = []
  for each in alternatives(annotation):
    if each is type(None):
      parts.append("none")
    elif typing.get_origin(each) is typing.Literal:
      parts.append(" or ".join(repr(option) for option in typing.get_args(each)))
    elif typing.get_origin(each) is tuple:
      parts.append(f"a tuple such as {_example(each)}")
    elif isinstance(each, type) and dataclasses.is_dataclass(each):
      parts.append(f"a {each.__name__} ({', '.join(members(each))})")
    else:
      plain = {int: "an integer", float: "a number", str: "a string",
               bool: "true or false"}  # fmt: skip
      parts.append(plain.get(each, str(each)))
  return " or ".join(parts)


def _example(annotation):
  if typing.get_origin(annotation) is tuple:
    items = typing.get_args(annotation)
    items = items[:1] * 2 if items[-1:] == (Ellipsis,) else items
    return tuple(_example(item) for item in items)
  return {int: 2, float: 0.5, str: "a", bool: True}.get(annotation)
