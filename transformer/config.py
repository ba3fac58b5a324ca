"""Frozen dataclasses as configs: overriding by dotted flags, JSON there and back.

A field whose type is a dataclass may hold any subclass of it (a *recipe*), written on
the command line as a call with literals, `Noam(warmup=4000)`, and in JSON as an object
with its `type`. Nothing is ever imported by name or executed: a name is looked for
among the subclasses of the field's own type.
"""

import ast
import dataclasses
import difflib
import hashlib
import inspect
import json
import math
import types
import typing
from typing import Any

Path = str

DEEPEST = 16
"""How far recipes may nest."""

LONGEST = 65536
"""How many characters a text may have."""


def members(family: type) -> dict[str, type]:
  """The usable members of a recipe family by name: the class and all its subclasses
  that are not abstract and not private.

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
    if found.setdefault(kind.__name__, kind) is not kind:
      raise ValueError(f"{family.__name__}: two members are named {kind.__name__}")
  return dict(sorted(found.items()))


def flags(argv: list[str]) -> tuple[list[tuple[Path, str]], list[str]]:
  """Takes `--config.a.b=value` and `--config.a.b value` out of `argv`.

  Returns:
    The `(path, text)` pairs in order, and what is left.

  Raises:
    ValueError: a flag has no value.
  """
  found, rest = [], []
  waiting = list(argv)
  while waiting:
    word = waiting.pop(0)
    if not word.startswith("--config."):
      rest.append(word)
      continue
    name, equals, text = word.partition("=")
    if not equals:
      if not waiting or waiting[0].startswith("--"):
        raise ValueError(f"{name}: no value; write {name}=value")
      text = waiting.pop(0)
    found.append((name.removeprefix("--config."), text))
  return found, rest


def override(config: Any, path: Path, text: str) -> Any:
  """`config` with the field at a dotted path set to what `text` says.

  Raises:
    ValueError: no such field, or not a value of its type.
  """
  return _override(config, path.split("."), text, path)


def _override(config, names: list[str], text: str, path: Path):
  name, rest = names[0], names[1:]
  where = f"--config.{path}"
  kinds = annotations(type(config))
  if name not in kinds:
    prefix = path.split(".")[: -len(names)]
    raise ValueError(_unknown(where, "field", name, kinds, type(config), prefix))
  value = getattr(config, name)
  if rest:
    if not dataclasses.is_dataclass(value):
      raise ValueError(f"{where}: {name} is {value!r} and has no field {rest[0]}")
    new = _override(value, rest, text, path)
  else:
    new = _parse(text, kinds[name], where)
  return _build(type(config), {**_fields(config), name: new}, where)


def _parse(text: str, kind, where: str):
  """A value of type `kind` from a command-line word."""
  if kind is str:
    return text
  try:
    node = ast.parse(text.strip(), mode="eval").body
  except (SyntaxError, ValueError, RecursionError, MemoryError):
    node = ast.Constant(text)
  if isinstance(node, ast.Name) and not _recipe(kind):
    node = ast.Constant(_word(node.id))
  try:
    return _value(node, kind, where)
  except _Mismatch:
    if _accepts(kind, str):
      return text
    raise ValueError(f"{where}={text}: expected {_describe(kind)}") from None


def _word(word: str):
  named = {"true": True, "false": False, "none": None, "null": None}
  if word.lower() in ("inf", "nan"):
    return float(word)
  return named.get(word.lower(), word)


class _Mismatch(Exception):
  """A value is not of the wanted type."""


def _value(node, kind, where: str):
  family = _recipe(kind)
  if family is not None:
    if isinstance(node, ast.Name):
      node = ast.Call(node, [], [])
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
      return _call(node, family, where)
    if not _accepts(kind, type(None)):
      raise _Mismatch
  if isinstance(node, ast.Name):
    node = ast.Constant(_word(node.id))
  try:
    plain = ast.literal_eval(node)
  except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
    raise _Mismatch from None
  return _coerce(plain, kind)


def _call(node: ast.Call, family: type, where: str):
  name = node.func.id  # type: ignore[attr-defined]
  known = members(family)
  if name not in known:
    raise ValueError(_unknown(where, family.__name__, name, known))
  kind = known[name]
  kinds = annotations(kind)
  given = dict(zip(kinds, node.args, strict=False))
  if len(node.args) > len(kinds):
    raise ValueError(f"{where}: {name} takes at most {len(kinds)} values")
  for keyword in node.keywords:
    if keyword.arg not in kinds:
      raise ValueError(_unknown(where, "field", str(keyword.arg), kinds, kind))
    if keyword.arg in given:
      raise ValueError(f"{where}: {name} is given {keyword.arg} twice")
    given[keyword.arg] = keyword.value
  values = {}
  for field, argument in given.items():
    try:
      values[field] = _value(argument, kinds[field], where)
    except _Mismatch:
      raise ValueError(
        f"{where}: {name}.{field}: expected {_describe(kinds[field])}, got "
        f"{ast.unparse(argument)}"
      ) from None
  return _build(kind, values, where)


def _build(kind: type, values: dict[str, Any], where: str):
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
  except (ValueError, TypeError) as error:
    raise ValueError(f"{where}: {error}") from error


def check(config: Any) -> None:
  """Checks every value against its annotation, all the way down.

  Raises:
    ValueError: naming the path, what was expected and what is there.
  """
  _check(config, type(config), "config", 0)


def _check(value, kind, where: str, depth: int):
  if depth > DEEPEST:
    raise ValueError(f"{where}: nested more than {DEEPEST} deep")
  if dataclasses.is_dataclass(value) and not isinstance(value, type):
    family = _recipe(kind)
    if family is None or not isinstance(value, family):
      raise ValueError(
        f"{where}: expected {_describe(kind)}, got {type(value).__name__}"
      )
    for name, field in annotations(type(value)).items():
      _check(getattr(value, name), field, f"{where}.{name}", depth + 1)
    return
  if isinstance(value, list):
    raise ValueError(f"{where}: a list cannot be part of a config; use a tuple")
  try:
    same = _coerce(value, kind)
  except _Mismatch:
    raise ValueError(f"{where}: expected {_describe(kind)}, got {value!r}") from None
  if type(same) is not type(value):
    raise ValueError(f"{where}: expected {_describe(kind)}, got {value!r}")


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
  if depth > DEEPEST:
    raise ValueError(f"{where}: nested more than {DEEPEST} deep")
  if isinstance(tree, dict) and tree.get("type") == "float":
    named = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
    if len(tree) == 2 and tree.get("value") in tuple(named):
      tree = named[tree["value"]]
  if isinstance(tree, dict):
    family = _recipe(kind)
    if family is None:
      raise ValueError(f"{where}: expected {_describe(kind)}, got an object")
    known, name = members(family), tree.get("type")
    if name not in known:
      raise ValueError(_unknown(where, family.__name__, str(name), known))
    kinds = annotations(known[name])
    values = {}
    for key, value in tree.items():
      if key == "type":
        continue
      if key not in kinds:
        raise ValueError(_unknown(where, "field", key, kinds, known[name]))
      values[key] = _load(value, kinds[key], f"{where}.{key}", depth + 1)
    return _build(known[name], values, where)
  value = tuple(tree) if isinstance(tree, list) else tree
  if isinstance(value, str) and len(value) > LONGEST:
    raise ValueError(f"{where}: a text of {len(value)} characters is no setting")
  try:
    return _coerce(value, kind)
  except _Mismatch:
    shown = repr(value)[:40]
    raise ValueError(f"{where}: expected {_describe(kind)}, got {shown}") from None


def dumps(config: Any) -> str:
  """A config as indented JSON text, fields in the order they are declared."""
  return json.dumps(dump(config), indent=2, ensure_ascii=False) + "\n"


def loads(kind: type, text: str) -> Any:
  """The inverse of `dumps`.

  Raises:
    ValueError: not JSON, or not a config of class `kind`.
  """
  try:
    tree = json.loads(text)
  except (ValueError, RecursionError) as error:
    raise ValueError(f"config: not JSON ({error})") from None
  return load(kind, tree)


def digest(config: Any) -> str:
  """SHA-256 of the config's canonical JSON."""
  text = json.dumps(dump(config), sort_keys=True, separators=(",", ":"))
  return hashlib.sha256(text.encode()).hexdigest()


def differences(a: Any, b: Any, path: Path = "") -> list[tuple[Path, Any, Any]]:
  """`(dotted path, value in a, value in b)` for every setting in which two configs
  differ; recipes of two kinds differ as wholes."""
  if type(a) is not type(b) or not dataclasses.is_dataclass(a):
    same = type(a) is type(b) and (a == b or (a != a and b != b))
    return [] if same else [(path, a, b)]
  found = []
  for name in annotations(type(a)):
    below = f"{path}.{name}" if path else name
    found += differences(getattr(a, name), getattr(b, name), below)
  return found


def annotations(kind: Any) -> dict[str, Any]:
  """The declared type of every field of a dataclass, in order."""
  hints = typing.get_type_hints(kind)
  return {f.name: hints[f.name] for f in dataclasses.fields(kind) if f.init}


def _fields(config) -> dict[str, Any]:
  return {name: getattr(config, name) for name in annotations(type(config))}


def _alternatives(kind) -> tuple:
  if typing.get_origin(kind) in (typing.Union, types.UnionType):
    return typing.get_args(kind)
  return (kind,)


def _recipe(kind) -> type | None:
  for one in _alternatives(kind):
    if isinstance(one, type) and dataclasses.is_dataclass(one):
      return one
  return None


def _accepts(kind, plain: type) -> bool:
  return plain in _alternatives(kind)


def _coerce(value, kind):
  """`value` as the plain type `kind`; numbers convert where nothing is lost."""
  for one in _alternatives(kind):
    if one is Any:
      return value
    if typing.get_origin(one) is typing.Literal:
      if any(value == w and type(value) is type(w) for w in typing.get_args(one)):
        return value
    elif typing.get_origin(one) is tuple or one is tuple:
      if isinstance(value, tuple):
        items = typing.get_args(one)
        if len(items) == 2 and items[1] is Ellipsis:
          return tuple(_coerce(item, items[0]) for item in value)
        if len(items) == len(value):
          return tuple(_coerce(v, k) for v, k in zip(value, items, strict=True))
    elif one is bool or one is str or one is type(None):
      if type(value) is one:
        return value
    elif one is int:
      if type(value) is float and value.is_integer():
        value = int(value)
      if type(value) is int and abs(value) < 2**63:
        return value
    elif one is float and type(value) in (int, float) and abs(value) < 1e300:
      return float(value)
    elif one is float and type(value) is float:
      return value
  raise _Mismatch


def _describe(kind) -> str:
  names = []
  for one in _alternatives(kind):
    if one is type(None):
      names.append("none")
    elif typing.get_origin(one) is typing.Literal:
      names.append(" or ".join(repr(word) for word in typing.get_args(one)))
    elif typing.get_origin(one) is tuple:
      names.append("a tuple such as (1, 2)")
    elif isinstance(one, type) and dataclasses.is_dataclass(one):
      names.append(f"a {one.__name__}: {', '.join(members(one))}")
    else:
      plain = {int: "a whole number", float: "a number", str: "a text",
               bool: "true or false"}  # fmt: skip
      names.append(plain.get(one, str(one)))
  return " or ".join(names)


def _unknown(where, what, name, known, owner=None, prefix=()) -> str:
  near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
  guess = f"; did you mean {'.'.join([*prefix, near[0]])}?" if near else ";"
  of = f"fields of {owner.__name__}" if owner else "there are"
  kind = f"no such {what}" if owner else f"no {what} is named {name}"
  return f"{where}: {kind}{guess} ({of}: {', '.join(known)})"
