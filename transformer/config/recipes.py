"""Recipes: frozen dataclasses that a field holds by the type of their base class.

A field whose annotation is a dataclass accepts all its subclasses too, a *family*. No
code is imported or run to find a member: its name is looked up among the subclasses of
the field's own type.
"""

import dataclasses
import difflib
import inspect
import types
import typing
from typing import Any

from transformer.config.ranges import check_numbers


def members(family: type) -> dict[str, type]:
  """The members of a recipe family by name: the class and all its subclasses that are
  neither abstract nor private.

  Raises:
    ValueError: two of them have the same name.
  """
  by_name: dict[str, type] = {}
  pending = [family]
  while pending:
    member = pending.pop()
    pending.extend(member.__subclasses__())
    if inspect.isabstract(member) or member.__name__.startswith("_"):
      continue
    other = by_name.setdefault(member.__name__, member)
    # A file that is run again, or a copy of it, defines its classes again. The newest
    # counts: subclasses are listed in order of definition, and popped from the end.
    redefined = _origin(other) == _origin(member)
    if other is not member and not redefined:
      modules = " and ".join(sorted((other.__module__, member.__module__)))
      raise ValueError(
        f"{family.__name__}: two members are named {member.__name__} (in {modules}); "
        "rename one"
      )
  return dict(sorted(by_name.items()))


def _origin(cls: type) -> tuple[str, str]:
  """A class's module, without the directory of an imported file, and its name."""
  return cls.__module__.rpartition("/")[2], cls.__qualname__


def annotations(cls: Any) -> dict[str, Any]:
  """The type of every field of a dataclass, in order."""
  hints = typing.get_type_hints(cls)
  return {f.name: hints[f.name] for f in dataclasses.fields(cls) if f.init}


def alternatives(annotation) -> tuple:
  """The types that an annotation allows."""
  if typing.get_origin(annotation) in (typing.Union, types.UnionType):
    return typing.get_args(annotation)
  return (annotation,)


def family_of(annotation) -> type | None:
  """The recipe family that an annotation allows, if there is one."""
  for each in alternatives(annotation):
    if isinstance(each, type) and dataclasses.is_dataclass(each):
      return each
  return None


def build(cls: type, values: dict[str, Any], path: str, field: str | None = None):
  """An instance of `cls` with these field values.

  Args:
    cls: a dataclass.
    values: of its fields, by name.
    path: of the instance, for messages; of its field `field` where that is given.
    field: the one field that is being set.

  Raises:
    ValueError: a field has no value, or `cls` refuses one; the message begins with the
      path of the field.
  """
  missing = [
    each.name
    for each in dataclasses.fields(cls)
    if each.name not in values
    and each.default is dataclasses.MISSING
    and each.default_factory is dataclasses.MISSING
  ]
  if missing:
    raise ValueError(f"{path}: {cls.__name__} needs {', '.join(missing)}")
  try:
    made = cls(**values)
    check_numbers(made)
    return made
  except (ValueError, TypeError, ArithmeticError) as error:
    raise ValueError(_with_path(str(error), cls, path, field)) from error


def _with_path(message: str, cls: type, path: str, field: str | None) -> str:
  """A dataclass's own message, `name: …` or `model.name: …`, with the path of that
  field, named once; `field` is the last name of `path`, if that is a field's."""
  name, colon, rest = message.partition(": ")
  name = name.rpartition(".")[2]
  if not colon or name not in annotations(cls):
    return f"{path}: {message}"
  parent = path if field is None else path.removesuffix(field).removesuffix(".")
  return f"{parent}.{name}: {rest}".removeprefix(".")


def no_such_field(path: str, name: str, cls: type, suggestion: str = "") -> str:
  """The message for an unknown field; suggests the nearest known one, unless there is a
  better suggestion."""
  fields = annotations(cls)
  known = (
    f"fields of {cls.__name__}: {', '.join(fields)}"
    if fields
    else f"{cls.__name__} has no fields"
  )
  suggestion = f"; {suggestion}" if suggestion else _suggestion(name, fields)
  return f"{path}: no such field{suggestion} ({known})"


def no_such_member(path: str, name: str, family: type) -> str:
  """The message for an unknown recipe name; suggests the nearest known one."""
  known = members(family)
  return (
    f"{path}: no {family.__name__} is named {abbreviate(name)}"
    f"{_suggestion(name, known)} (there are: {', '.join(known)}); if it is defined in "
    "a file of your own, give --import FILE"
  )


def _suggestion(name: str, known) -> str:
  near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
  return f"; did you mean {near[0]}?" if near else ""


def abbreviate(text: str) -> str:
  """A text for one line of an error message."""
  printable = text if text.isprintable() else ascii(text)
  return printable if len(printable) <= 60 else f"{printable[:57]}..."


def written(value: Any) -> str:
  """A value as the command line writes it; a recipe without the fields that have their
  defaults: `Learned(length=128)`."""
  if not dataclasses.is_dataclass(value) or isinstance(value, type):
    return repr(value)
  values = {f.name: (getattr(value, f.name), f) for f in dataclasses.fields(value)}
  changed = [
    f"{name}={written(own)}"
    for name, (own, field) in values.items()
    if field.init and (field.default is dataclasses.MISSING or own != field.default)
  ]
  return f"{type(value).__name__}({', '.join(changed)})"
