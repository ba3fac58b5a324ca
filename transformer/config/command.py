"""Configs and the command line: values of dotted flags, recipes written as calls with
literals, `Noam(warmup=4000)`."""

import ast
import dataclasses
from collections.abc import Callable
from typing import Any

from transformer.config.kinds import (
  FLOATS,
  Mismatch,
  accepts,
  annotations,
  build,
  check_value,
  choices,
  coerce,
  describe,
  members,
  no_field,
  no_member,
  recipe,
  short,
  shown,
)

Path = str


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
  where = f"--config.{path}"

  def value(kind):
    if text is None:
      if not accepts(kind, bool):
        raise ValueError(f"{where}: no value; write {where}=value")
      return True
    return _parse(text, kind, where)

  return _replace(config, path.split("."), value, path, where)


def replace(config: Any, path: Path, value: Any) -> Any:
  """`config` with the field at a dotted path set to a value, checked as by `check`.

  Raises:
    ValueError: no such field, or not a value of its type.
  """
  return _replace(config, path.split("."), lambda kind: value, path, path)


def _replace(config, names: list[str], value: Callable, path: Path, where: str):
  name, rest = names[0], names[1:]
  kinds = annotations(type(config))
  if name not in kinds:
    prefix = path.split(".")[: -len(names)]
    raise ValueError(no_field(where, name, type(config), prefix))
  old = getattr(config, name)
  if rest:
    if not dataclasses.is_dataclass(old):
      raise ValueError(f"{where}: {name} is {shown(old)} and has no fields")
    new = _replace(old, rest, value, path, where)
  else:
    new = value(kinds[name])
    check_value(new, kinds[name], where, path.count(".") + 1)
  return build(type(config), {**_fields(config), name: new}, where)


def parse(text: str, kind: Any, where: str) -> Any:
  """A value of type `kind`, a recipe such as `TopP(0.9)` among them, from one
  command-line word; `where` is the flag's name.

  Raises:
    ValueError: it is none.
  """
  value = _parse(text, kind, where)
  check_value(value, kind, where, 0)
  return value


def _parse(text: str, kind, where: str):
  """A value of type `kind` from a command-line word."""
  if kind is str or text in choices(kind):
    return text
  try:
    node = ast.parse(text.strip(), mode="eval").body
  except (SyntaxError, ValueError, RecursionError, MemoryError):
    node = ast.Constant(text)
  try:
    return _value(node, kind, where)
  except Mismatch:
    if accepts(kind, str):
      return text
    raise ValueError(f"{where}={shown(text)}: expected {describe(kind)}") from None


def _value(node, kind, where: str):
  family = recipe(kind)
  if family is not None:
    call = ast.Call(node, [], []) if isinstance(node, ast.Name) else node
    nothing = isinstance(node, ast.Name) and _word(node.id) is None
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and not nothing:
      return _call(call, family, where)
  try:
    plain = _literal(node)
  except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
    raise Mismatch from None
  return coerce(plain, kind)


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
    raise ValueError(no_member(where, name, family))
  kind = known[name]
  kinds = annotations(kind)
  given = dict(zip(kinds, node.args, strict=False))
  if len(node.args) > len(kinds):
    raise ValueError(f"{where}: {name} takes at most {len(kinds)} values")
  for keyword in node.keywords:
    if keyword.arg not in kinds:
      at = f"{where}: {name}.{keyword.arg}"
      raise ValueError(no_field(at, str(keyword.arg), kind))
    if keyword.arg in given:
      raise ValueError(f"{where}: {name} is given {keyword.arg} twice")
    given[keyword.arg] = keyword.value
  values = {}
  for field, argument in given.items():
    try:
      values[field] = _value(argument, kinds[field], where)
    except Mismatch:
      raise ValueError(
        f"{where}: {name}.{field}: expected {describe(kinds[field])}, got "
        f"{short(ast.unparse(argument))}"
      ) from None
  return build(kind, values, where)


def _fields(config) -> dict[str, Any]:
  return {name: getattr(config, name) for name in annotations(type(config))}
