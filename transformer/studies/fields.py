"""Fields of dataclasses, checked against their annotations: what a study's file and the
files in its directory hold."""

import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from transformer import config as configs
from transformer.data.text import check_text


def check_fields(value: Any) -> None:
  """Checks the fields of a dataclass, and the items in them. A list will do for a
  tuple, and an integer for a float.

  Raises:
    ValueError: a field is of another type; `Row.changes: expected Mapping, got 3`.
  """
  for name, annotation in configs.annotations(type(value)).items():
    check_value(f"{type(value).__name__}.{name}", getattr(value, name), annotation)


def check_value(path: str, value: Any, annotation: Any) -> None:
  """`check_fields` of one value that has an annotation."""
  alternatives = configs.alternatives(annotation)
  kind = next((each for each in alternatives if is_of(value, each)), None)
  if kind is None:
    names = " or ".join(name_of(each) for each in alternatives)
    got = configs.abbreviate(repr(value))
    raise ValueError(f"{path}: expected {names}, got {got}")
  if isinstance(value, str):
    try:
      check_text(value)
    except ValueError as error:
      raise ValueError(f"{path}: {error}") from None
  items = typing.get_args(kind)
  if isinstance(value, Mapping):
    for key, item in value.items():
      check_value(path, key, items[0])
      check_value(f"{path}[{key!r}]", item, items[1])
  elif items and isinstance(value, Sequence):
    for number, item in enumerate(value):
      check_value(f"{path}[{number}]", item, items[0])


def is_of(value: Any, annotation: Any) -> bool:
  """Whether a value is of a type that is no union; its items are not looked at."""
  kind: Any = typing.get_origin(annotation) or annotation
  if kind is Any:
    return True
  if kind is Callable:
    return callable(value)
  if kind is tuple:
    return isinstance(value, (tuple, list))
  if kind in (int, float):
    return isinstance(value, (int, kind)) and not isinstance(value, bool)
  return isinstance(value, kind) and not (kind is Sequence and isinstance(value, str))


def name_of(annotation: Any) -> str:
  """An annotation for the reader."""
  kind = typing.get_origin(annotation) or annotation
  return "None" if kind is type(None) else getattr(kind, "__name__", str(kind))
