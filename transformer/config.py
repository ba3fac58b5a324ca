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


def flags(argv: list[str]) -> tuple[list[tuple[Path, str | None]], list[str]]:
  """Takes `--config.a.b=value` and `--config.a.b value` out of `argv`.

  Returns:
    The `(path, text)` pairs in order, and what is left. The text of a flag without a
    value, at the end or before another flag, is None.
  """
  found: list[tuple[Path, str | None]] = []
  rest: list[str] = []
  waiting = list(argv)
  while waiting:
    word = waiting.pop(0)
    if not word.startswith("--config."):
      rest.append(word)
      continue
    name, equals, value = word.partition("=")
    text: str | None = value
    if not equals:
      bare = not waiting or waiting[0].startswith("--")
      text = None if bare else waiting.pop(0)
    found.append((name.removeprefix("--config."), text))
  return found, rest


def override(config: Any, path: Path, text: str | None) -> Any:
  """`config` with the field at a dotted path set to what `text` says; no text at all
  sets a bool to true.

  Raises:
    ValueError: no such field, or not a value of its type.
  """
  return _override(config, path.split("."), text, path)


def _override(config, names: list[str], text: str | None, path: Path):
  name, rest = names[0], names[1:]
  where = f"--config.{path}"
  kinds = annotations(type(config))
  if name not in kinds:
    prefix = path.split(".")[: -len(names)]
    raise ValueError(_no_field(where, name, type(config), prefix))
  value = getattr(config, name)
  if rest:
    if not dataclasses.is_dataclass(value):
      raise ValueError(f"{where}: {name} is {_shown(value)} and has no fields")
    new = _override(value, rest, text, path)
  elif text is None:
    if not _accepts(kinds[name], bool):
      raise ValueError(f"{where}: no value; write {where}=value")
    new = True
  else:
    new = _parse(text, kinds[name], where)
    _check(new, kinds[name], where, path.count(".") + 1)
  return _build(type(config), {**_fields(config), name: new}, where)


def parse(text: str, kind: Any, where: str) -> Any:
  """A value of type `kind`, a recipe such as `TopP(0.9)` among them, from one
  command-line word; `where` is the flag's name.

  Raises:
    ValueError: it is none.
  """
  value = _parse(text, kind, where)
  _check(value, kind, where, 0)
  return value


def _parse(text: str, kind, where: str):
  """A value of type `kind` from a command-line word."""
  if kind is str or text in _choices(kind):
    return text
  try:
    node = ast.parse(text.strip(), mode="eval").body
  except (SyntaxError, ValueError, RecursionError, MemoryError):
    node = ast.Constant(text)
  try:
    return _value(node, kind, where)
  except _Mismatch:
    if _accepts(kind, str):
      return text
    shown = _shown(text)
    raise ValueError(f"{where}={shown}: expected {_describe(kind)}") from None


class _Mismatch(Exception):
  """A value is not of the wanted type."""


def _value(node, kind, where: str):
  family = _recipe(kind)
  if family is not None:
    call = ast.Call(node, [], []) if isinstance(node, ast.Name) else node
    nothing = isinstance(node, ast.Name) and _word(node.id) is None
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and not nothing:
      return _call(call, family, where)
  try:
    plain = _literal(node)
  except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
    raise _Mismatch from None
  return _coerce(plain, kind)


def _literal(node):
  """As `ast.literal_eval`, but a bare word is a text, and infinity a number."""
  if isinstance(node, ast.Name):
    return _word(node.id)
  if isinstance(node, (ast.Tuple, ast.List)):
    return tuple(_literal(item) for item in node.elts)
  if isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Name):
    node = ast.UnaryOp(node.op, ast.Constant(_word(node.operand.id)))
  return ast.literal_eval(node)


def _word(word: str):
  named = {"true": True, "false": False, "none": None, "null": None, **FLOATS}
  return named.get(word.lower(), word)


def _call(node: ast.Call, family: type, where: str):
  name = node.func.id  # type: ignore[attr-defined]
  known = members(family)
  if name not in known:
    raise ValueError(_no_member(where, name, family))
  kind = known[name]
  kinds = annotations(kind)
  given = dict(zip(kinds, node.args, strict=False))
  if len(node.args) > len(kinds):
    raise ValueError(f"{where}: {name} takes at most {len(kinds)} values")
  for keyword in node.keywords:
    if keyword.arg not in kinds:
      at = f"{where}: {name}.{keyword.arg}"
      raise ValueError(_no_field(at, str(keyword.arg), kind))
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
        f"{_short(ast.unparse(argument))}"
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
  except (ValueError, TypeError, ArithmeticError) as error:
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
  family, own = _recipe(kind), type(value)
  if family is not None and isinstance(value, family):
    if own.__name__.startswith("_"):
      raise ValueError(f"{where}: {own.__name__} is private: no file can name it")
    if own.__hash__ is None:
      raise ValueError(f"{where}: {own.__name__} has no hash; make it frozen")
    for name, field in annotations(own).items():
      _check(getattr(value, name), field, f"{where}.{name}", depth + 1)
    return
  same = _settle(value, kind, where, depth)
  if repr(same) != repr(value):
    raise ValueError(
      f"{where}: expected {_describe(kind)}, got {_shown(value)}; write {same!r}"
    )


def _settle(value, kind, where: str, depth: int):
  """A plain value as the type `kind`, if it is of sane size."""
  _bound(value, where, depth)
  try:
    return _coerce(value, kind)
  except _Mismatch:
    raise ValueError(
      f"{where}: expected {_describe(kind)}, got {_shown(value)}"
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
    raise ValueError(f"{where}: {_shown(value)} is not valid Unicode")
  if isinstance(value, tuple):
    for item in value:
      _bound(item, where, depth + 1)


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
    return _settle(value, kind, where, depth)
  family = _recipe(kind)
  if family is None:
    raise ValueError(f"{where}: expected {_describe(kind)}, got an object")
  known, name = members(family), tree.get("type")
  if not isinstance(name, str):
    raise ValueError(f'{where}: an object must say its "type": {", ".join(known)}')
  if name not in known:
    raise ValueError(_no_member(where, name, family))
  kinds = annotations(known[name])
  values = {}
  for key, item in tree.items():
    if key == "type":
      continue
    if key not in kinds:
      raise ValueError(_no_field(f"{where}.{_short(str(key))}", str(key), known[name]))
    values[key] = _load(item, kinds[key], f"{where}.{key}", depth + 1)
  return _build(known[name], values, where)


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


def _choices(kind) -> list[str]:
  """The texts that `kind` names one by one."""
  literals = (k for k in _alternatives(kind) if typing.get_origin(k) is typing.Literal)
  return [word for k in literals for word in typing.get_args(k) if type(word) is str]


def _coerce(value, kind):
  """`value` as the plain type `kind`; numbers convert where nothing is lost."""
  for one in sorted(_alternatives(kind), key=lambda one: one is not type(value)):
    if typing.get_origin(one) is typing.Literal:
      if any(value == w and type(value) is type(w) for w in typing.get_args(one)):
        return value
    elif typing.get_origin(one) is tuple:
      if type(value) is tuple:
        items = typing.get_args(one)
        if len(items) == 2 and items[1] is Ellipsis:
          return tuple(_coerce(item, items[0]) for item in value)
        if len(items) == len(value):
          return tuple(_coerce(v, k) for v, k in zip(value, items, strict=True))
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
  raise _Mismatch


def _describe(kind) -> str:
  names = []
  for one in _alternatives(kind):
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


def _no_field(where: str, name: str, owner: type, prefix=()) -> str:
  known = annotations(owner)
  fields = ", ".join(known)
  listed = (
    f"fields of {owner.__name__}: {fields}"
    if known
    else f"{owner.__name__} has no fields"
  )
  return f"{where}: no such field{_nearest(name, known, prefix)} ({listed})"


def _no_member(where: str, name: str, family: type) -> str:
  known = members(family)
  return (
    f"{where}: no {family.__name__} is named {_short(name)}{_nearest(name, known)} "
    f"(there are: {', '.join(known)})"
  )


def _nearest(name: str, known, prefix=()) -> str:
  near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
  return f"; did you mean {'.'.join([*prefix, near[0]])}?" if near else ""


def _short(text: str) -> str:
  """A text on one line of an error message."""
  plain = text if text.isprintable() else ascii(text)
  return plain if len(plain) <= 60 else f"{plain[:57]}..."


def _shown(value) -> str:
  return _short(repr(value))
