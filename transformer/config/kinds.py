"""What a field of a config may hold: plain values, and recipes.

A field whose type is a dataclass may hold any subclass of it (a *recipe*). Nothing is
ever imported by name or executed: a name is looked for among the subclasses of the
field's own type.
"""

import dataclasses
import difflib
import inspect
import math
import types
import typing
from typing import Any

DEEPEST = 16
"""How far recipes may nest."""

LONGEST = 65536
"""How many characters a text, and how many items a tuple, may have."""

BIGGEST = 2**63
"""Whole numbers stay below it, on both sides of zero."""

FLOATS = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
"""The numbers that JSON cannot write."""


def members(family: type) -> dict[str, type]:
  """The usable members of a recipe family by name: the class and all its subclasses
  that are not abstract and not private; of a class defined again, the newest.

  Raises:
    ValueError: two of them have one name.
  """
  found: dict[str, type] = {}
  waiting = [family]
  while waiting:
    kind = waiting.pop()
    waiting.extend(kind.__subclasses__())
    if inspect.isabstract(kind) or kind.__name__.startswith("_"):
      continue
    other = found.setdefault(kind.__name__, kind)
    # A config file that is read again defines its classes again; the newest counts,
    # and comes first here.
    again = (other.__module__, other.__qualname__) == (
      kind.__module__, kind.__qualname__
    )  # fmt: skip
    if other is not kind and not again:
      places = " and ".join(sorted((other.__module__, kind.__module__)))
      raise ValueError(
        f"{family.__name__}: two members are named {kind.__name__} (in {places}); "
        "rename one"
      )
  return dict(sorted(found.items()))


def annotations(kind: Any) -> dict[str, Any]:
  """The declared type of every field of a dataclass, in order."""
  hints = typing.get_type_hints(kind)
  return {f.name: hints[f.name] for f in dataclasses.fields(kind) if f.init}


def build(kind: type, values: dict[str, Any], where: str):
  """A `kind` with these fields; ValueError, naming `where`, if that cannot be."""
  missing = [
    field.name
    for field in dataclasses.fields(kind)
    if field.name not in values
    and field.default is dataclasses.MISSING
    and field.default_factory is dataclasses.MISSING
  ]
  if missing:
    raise ValueError(f"{where}: {kind.__name__} needs {', '.join(missing)}")
  try:
    return kind(**values)
  except (ValueError, TypeError, ArithmeticError) as error:
    raise ValueError(f"{where}: {error}") from error


def check(config: Any) -> None:
  """Checks every value against its annotation, all the way down.

  Raises:
    ValueError: naming the path, what was expected and what is there.
  """
  check_value(config, type(config), "config", 0)


def check_value(value, kind, where: str, depth: int):
  """`check` of a value that an annotation says to be a `kind`."""
  if depth > DEEPEST:
    raise ValueError(f"{where}: nested more than {DEEPEST} deep")
  family, own = recipe(kind), type(value)
  if family is not None and isinstance(value, family):
    if own.__name__.startswith("_"):
      raise ValueError(f"{where}: {own.__name__} is private: no file can name it")
    if own.__hash__ is None:
      raise ValueError(f"{where}: {own.__name__} has no hash; make it frozen")
    for name, field in annotations(own).items():
      check_value(getattr(value, name), field, f"{where}.{name}", depth + 1)
    return
  same = settle(value, kind, where, depth)
  if repr(same) != repr(value):
    raise ValueError(
      f"{where}: expected {describe(kind)}, got {shown(value)}; write {same!r}"
    )


def settle(value, kind, where: str, depth: int):
  """A plain value as the type `kind`, if it is of sane size."""
  _bound(value, where, depth)
  try:
    return coerce(value, kind)
  except Mismatch:
    raise ValueError(
      f"{where}: expected {describe(kind)}, got {shown(value)}"
    ) from None


def _bound(value, where: str, depth: int):
  if depth > DEEPEST:
    raise ValueError(f"{where}: nested more than {DEEPEST} deep")
  if isinstance(value, list):
    raise ValueError(f"{where}: a list cannot be part of a config; use a tuple")
  if isinstance(value, int) and abs(value) >= BIGGEST:
    raise ValueError(f"{where}: a whole number must be smaller than 2**63")
  if isinstance(value, (str, tuple)) and len(value) > LONGEST:
    what = "characters" if isinstance(value, str) else "items"
    raise ValueError(f"{where}: {len(value)} {what}; a setting has at most {LONGEST}")
  if isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value):
    raise ValueError(f"{where}: {shown(value)} is not valid Unicode")
  if isinstance(value, tuple):
    for item in value:
      _bound(item, where, depth + 1)


def alternatives(kind) -> tuple:
  """The types that an annotation allows."""
  if typing.get_origin(kind) in (typing.Union, types.UnionType):
    return typing.get_args(kind)
  return (kind,)


def recipe(kind) -> type | None:
  """The family of recipes that an annotation allows, if it allows one."""
  for one in alternatives(kind):
    if isinstance(one, type) and dataclasses.is_dataclass(one):
      return one
  return None


def accepts(kind, plain: type) -> bool:
  """Whether an annotation allows a plain type."""
  return plain in alternatives(kind)


def choices(kind) -> list[str]:
  """The texts that `kind` names one by one."""
  literals = (k for k in alternatives(kind) if typing.get_origin(k) is typing.Literal)
  return [word for k in literals for word in typing.get_args(k) if type(word) is str]


def coerce(value, kind):
  """`value` as the plain type `kind`; numbers convert where nothing is lost."""
  for one in sorted(alternatives(kind), key=lambda one: one is not type(value)):
    if typing.get_origin(one) is typing.Literal:
      if any(value == w and type(value) is type(w) for w in typing.get_args(one)):
        return value
    elif typing.get_origin(one) is tuple:
      if type(value) is tuple:
        items = typing.get_args(one)
        if len(items) == 2 and items[1] is Ellipsis:
          return tuple(coerce(item, items[0]) for item in value)
        if len(items) == len(value):
          return tuple(coerce(v, k) for v, k in zip(value, items, strict=True))
    elif one is bool or one is str or one is type(None):
      if type(value) is one:
        return value
    elif one is int:
      whole = type(value) is float and value.is_integer() and abs(value) < BIGGEST
      if whole or type(value) is int:
        return int(value)
    elif one is float and type(value) is float:
      return value
    elif one is float and type(value) is int and abs(value) < BIGGEST:
      return float(value)
  raise Mismatch


class Mismatch(Exception):
  """A value is not of the wanted type."""


def describe(kind) -> str:
  """What an annotation allows, for a reader."""
  names = []
  for one in alternatives(kind):
    if one is type(None):
      names.append("none")
    elif typing.get_origin(one) is typing.Literal:
      names.append(" or ".join(repr(word) for word in typing.get_args(one)))
    elif typing.get_origin(one) is tuple:
      names.append(f"a tuple such as {_example(one)}")
    elif isinstance(one, type) and dataclasses.is_dataclass(one):
      names.append(f"a {one.__name__}: {', '.join(members(one))}")
    else:
      plain = {int: "a whole number", float: "a number", str: "a text",
               bool: "true or false"}  # fmt: skip
      names.append(plain.get(one, str(one)))
  return " or ".join(names)


def _example(kind):
  if typing.get_origin(kind) is tuple:
    items = typing.get_args(kind)
    items = items[:1] * 2 if items[-1:] == (Ellipsis,) else items
    return tuple(_example(item) for item in items)
  return {int: 2, float: 0.5, str: "a", bool: True}.get(kind)


def no_field(where: str, name: str, owner: type, prefix=()) -> str:
  """The message that a class has no such field, with the nearest that it has."""
  known = annotations(owner)
  fields = ", ".join(known)
  listed = (
    f"fields of {owner.__name__}: {fields}"
    if known
    else f"{owner.__name__} has no fields"
  )
  return f"{where}: no such field{_nearest(name, known, prefix)} ({listed})"


def no_member(where: str, name: str, family: type) -> str:
  """The message that a family has no such member, with the nearest that it has."""
  known = members(family)
  return (
    f"{where}: no {family.__name__} is named {short(name)}{_nearest(name, known)} "
    f"(there are: {', '.join(known)})"
  )


def _nearest(name: str, known, prefix=()) -> str:
  near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
  return f"; did you mean {'.'.join([*prefix, near[0]])}?" if near else ""


def written(value: Any) -> str:
  """A value as it is written on the command line; a recipe without the fields that have
  their defaults: `Learned(length=128)`."""
  if not dataclasses.is_dataclass(value) or isinstance(value, type):
    return repr(value)
  values = {f.name: (getattr(value, f.name), f) for f in dataclasses.fields(value)}
  changed = [
    f"{name}={written(own)}"
    for name, (own, field) in values.items()
    if field.init and (field.default is dataclasses.MISSING or own != field.default)
  ]
  return f"{type(value).__name__}({', '.join(changed)})"


def short(text: str) -> str:
  """A text on one line of an error message."""
  plain = text if text.isprintable() else ascii(text)
  return plain if len(plain) <= 60 else f"{plain[:57]}..."


def shown(value) -> str:
  """A value on one line of an error message."""
  return short(repr(value))
