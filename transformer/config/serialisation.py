"""Configs as JSON: every dataclass is an object with its `type`."""

import dataclasses
import hashlib
import json
from typing import Any

from transformer.config.recipes import (
  abbreviate,
  annotations,
  build,
  family_of,
  members,
  no_such_field,
  no_such_member,
)
from transformer.config.validation import MAX_DEPTH, convert, expected


def dump(config: Any) -> dict[str, Any]:
  """A config as JSON values."""
  return _dump(config)


def _dump(value):
  if dataclasses.is_dataclass(value):
    tree = {name: _dump(getattr(value, name)) for name in annotations(type(value))}
    return {"type": type(value).__name__, **tree}
  if isinstance(value, tuple):
    return [_dump(item) for item in value]
  return value


def load(cls: type, tree: Any) -> Any:
  """The inverse of `dump` for a config of class `cls`; absent fields take their
  defaults.

  Raises:
    ValueError: a value of `tree` is not one that `cls` may hold.
  """
  return _load(tree, cls, "config", 0)


def _load(tree, annotation, path: str, depth: int):
  value = _untyped(tree, path, depth)
  if not isinstance(value, dict):
    return convert(value, annotation, path, depth)
  family = family_of(annotation)
  if family is None:
    raise ValueError(f"{path}: {expected(annotation, 'an object')}")
  known, name = members(family), tree.get("type")
  if not isinstance(name, str):
    raise ValueError(
      f'{path}: the "type" of the object is missing (one of {", ".join(known)})'
    )
  if name not in known:
    raise ValueError(no_such_member(path, name, family))
  fields = annotations(known[name])
  values = {}
  for key, item in tree.items():
    if key == "type":
      continue
    if key not in fields:
      at = f"{path}.{abbreviate(key)}"
      raise ValueError(no_such_field(at, key, known[name]))
    values[key] = _load(item, fields[key], f"{path}.{key}", depth + 1)
  return build(known[name], values, path)


def _untyped(tree, path: str, depth: int):
  """JSON as Python values, as far as that is possible without a type."""
  if depth > MAX_DEPTH:
    raise ValueError(f"{path}: nested more than {MAX_DEPTH} levels deep")
  if isinstance(tree, list):
    return tuple(_untyped(item, path, depth + 1) for item in tree)
  return tree


def dumps(config: Any) -> str:
  """A config as indented JSON text, fields in the order of declaration."""
  return json.dumps(dump(config), indent=2, ensure_ascii=False) + "\n"


def loads(cls: type, text: str) -> Any:
  """The inverse of `dumps`.

  Raises:
    ValueError: the text is not JSON, or not a config of class `cls`.
  """
  try:
    tree = parse_json(text)
  except ValueError as error:
    raise ValueError(f"config: not JSON ({error})") from None
  return load(cls, tree)


def parse_json(text: str | bytes) -> Any:
  """The value of a JSON text.

  Raises:
    ValueError: it is not JSON, has the same name twice in an object, or a number that
      JSON does not have.
  """
  try:
    return json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
  except RecursionError:
    raise ValueError("it is nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  tree = dict(pairs)
  if len(tree) < len(pairs):
    raise ValueError("an object has the same name twice")
  return tree


def _constant(name: str):
  raise ValueError(f"{name} is not a JSON number")


def digest(config: Any) -> str:
  """SHA-256 of the config's canonical JSON."""
  text = json.dumps(dump(config), sort_keys=True, separators=(",", ":"))
  return hashlib.sha256(text.encode()).hexdigest()


def differences(a: Any, b: Any, path: str = "") -> list[tuple[str, Any, Any]]:
  """`(dotted path, value in a, value in b)` of every setting in which two configs
  differ; recipes of different classes are compared as wholes."""
  if type(a) is not type(b):
    return [(path, a, b)]
  if not dataclasses.is_dataclass(a):
    # By text, as the digest: nan is nan, and 1 is not 1.0 inside a tuple either.
    return [] if repr(a) == repr(b) else [(path, a, b)]
  result = []
  for name in annotations(type(a)):
    below = f"{path}.{name}" if path else name
    result += differences(getattr(a, name), getattr(b, name), below)
  return result
