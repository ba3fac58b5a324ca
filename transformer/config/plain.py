"""Configs and JSON, there and back; every dataclass is an object with its `type`."""

import dataclasses
import hashlib
import json
import math
from typing import Any

from transformer.config.kinds import (
  DEEPEST,
  FLOATS,
  annotations,
  build,
  describe,
  members,
  no_field,
  no_member,
  recipe,
  settle,
  short,
)

Path = str


def dump(config: Any) -> dict[str, Any]:
  """A config as JSON values; every dataclass is an object with its `type`."""
  return _dump(config)


def _dump(value):
  if dataclasses.is_dataclass(value):
    tree = {name: _dump(getattr(value, name)) for name in annotations(type(value))}
    return {"type": type(value).__name__, **tree}
  if isinstance(value, tuple):
    return [_dump(item) for item in value]
  if isinstance(value, float) and not math.isfinite(value):
    return {"type": "float", "value": repr(value)}
  return value


def load(kind: type, tree: Any) -> Any:
  """The inverse of `dump` for a config of class `kind`; absent fields take their
  defaults.

  Raises:
    ValueError: anything in `tree` is not what `kind` may hold.
  """
  return _load(tree, kind, "config", 0)


def _load(tree, kind, where: str, depth: int):
  value = _plain(tree, where, depth)
  if not isinstance(value, dict):
    return settle(value, kind, where, depth)
  family = recipe(kind)
  if family is None:
    raise ValueError(f"{where}: expected {describe(kind)}, got an object")
  known, name = members(family), tree.get("type")
  if not isinstance(name, str):
    raise ValueError(f'{where}: an object must say its "type": {", ".join(known)}')
  if name not in known:
    raise ValueError(no_member(where, name, family))
  kinds = annotations(known[name])
  values = {}
  for key, item in tree.items():
    if key == "type":
      continue
    if key not in kinds:
      raise ValueError(no_field(f"{where}.{short(str(key))}", str(key), known[name]))
    values[key] = _load(item, kinds[key], f"{where}.{key}", depth + 1)
  return build(known[name], values, where)


def _plain(tree, where: str, depth: int):
  """JSON as Python values, as far as that needs no type."""
  if depth > DEEPEST:
    raise ValueError(f"{where}: nested more than {DEEPEST} deep")
  if isinstance(tree, list):
    return tuple(_plain(item, where, depth + 1) for item in tree)
  if isinstance(tree, dict) and set(tree) == {"type", "value"}:
    named, number = tree["type"] == "float", tree["value"]
    if named and isinstance(number, str) and number in FLOATS:
      return FLOATS[number]
  return tree


def dumps(config: Any) -> str:
  """A config as indented JSON text, fields in the order they are declared."""
  return json.dumps(dump(config), indent=2, ensure_ascii=False) + "\n"


def loads(kind: type, text: str) -> Any:
  """The inverse of `dumps`.

  Raises:
    ValueError: not JSON, or not a config of class `kind`.
  """
  try:
    tree = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
  except (ValueError, RecursionError) as error:
    raise ValueError(f"config: not JSON ({error})") from None
  return load(kind, tree)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  tree = dict(pairs)
  if len(tree) < len(pairs):
    raise ValueError("a name is given twice in one object")
  return tree


def _constant(name: str):
  raise ValueError(f"{name} is no JSON number")


def digest(config: Any) -> str:
  """SHA-256 of the config's canonical JSON."""
  text = json.dumps(dump(config), sort_keys=True, separators=(",", ":"))
  return hashlib.sha256(text.encode()).hexdigest()


def differences(a: Any, b: Any, path: Path = "") -> list[tuple[Path, Any, Any]]:
  """`(dotted path, value in a, value in b)` for every setting in which two configs
  differ; recipes of two kinds differ as wholes."""
  if type(a) is not type(b):
    return [(path, a, b)]
  if not dataclasses.is_dataclass(a):
    # By text, as the digest: nan is nan, and 1 is not 1.0 inside a tuple either.
    return [] if repr(a) == repr(b) else [(path, a, b)]
  found = []
  for name in annotations(type(a)):
    below = f"{path}.{name}" if path else name
    found += differences(getattr(a, name), getattr(b, name), below)
  return found
