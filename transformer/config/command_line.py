"""Configs on the command line: `--config.model.layers=3`, and recipes written as calls
with literals, `--config.schedule='Noam(warmup=4000)'`."""

import ast
import dataclasses
from collections.abc import Callable
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
from transformer.config.settings import suggest
from transformer.config.validation import (
  NON_FINITE,
  Mismatch,
  accepts,
  check_value,
  choices,
  coerce,
  expected,
)

PREFIX = "--config."


def split_flags(argv: list[str]) -> tuple[list[tuple[str, str | None]], list[str]]:
  """Takes `--config.a.b=value` and `--config.a.b value` out of `argv`.

  Returns:
    The `(dotted path, text)` pairs in order, and the other words. The text is None for
    a flag without a value, at the end or before another flag.
  """
  overrides: list[tuple[str, str | None]] = []
  rest: list[str] = []
  words = list(argv)
  while words:
    word = words.pop(0)
    if not word.startswith(PREFIX):
      rest.append(word)
      continue
    name, equals, value = word.partition("=")
    text: str | None = value
    if not equals:
      bare = not words or words[0].startswith("--")
      text = None if bare else words.pop(0)
    overrides.append((name.removeprefix(PREFIX), text))
  return overrides, rest


def override(config: Any, path: str, text: str | None) -> Any:
  """`config` with the field at a dotted path set to the value that `text` writes; None
  sets a bool to true.

  Raises:
    ValueError: there is no such field, or the value is not of its type.
  """
  flag = f"{PREFIX}{path}"

  def value(annotation):
    if text is not None:
      return _parse(text, annotation, flag)
    if not accepts(annotation, bool):
      raise ValueError(f"{flag}: the value is missing; write {flag}=value")
    return True

  try:
    return _replace(config, path.split("."), value, path, flag)
  except _NoSuchField as error:
    raise error.within(config) from None


def replace(config: Any, path: str, value: Any) -> Any:
  """`config` with the field at a dotted path set to a value, checked as by `check`.

  Raises:
    ValueError: there is no such field, or the value is not of its type.
  """
  return _replace(config, path.split("."), lambda _: value, path, path)


class _NoSuchField(ValueError):
  """A recipe, or the instance at a path, has no field of this name."""

  def __init__(self, where: str, name: str, cls: type, prefix: str | None = None):
    super().__init__(no_such_field(where, name, cls))
    self._arguments, self._prefix = (where, name, cls), prefix

  def within(self, config: Any) -> ValueError:
    """The error with the setting of the whole config that was meant."""
    _, name, cls = self._arguments
    return ValueError(
      no_such_field(*self._arguments, suggest(name, config, cls, self._prefix))
    )


def _replace(config, names: list[str], value: Callable, path: str, where: str):
  name, rest = names[0], names[1:]
  fields = annotations(type(config))
  if name not in fields:
    prefix = ".".join(path.split(".")[: -len(names)])
    raise _NoSuchField(where, name, type(config), prefix)
  old = getattr(config, name)
  if rest:
    if not dataclasses.is_dataclass(old):
      raise ValueError(f"{where}: {name} is {abbreviate(repr(old))}, without fields")
    new = _replace(old, rest, value, path, where)
  else:
    new = value(fields[name])
    check_value(new, fields[name], where, path.count(".") + 1)
  values = {field: getattr(config, field) for field in fields} | {name: new}
  return build(type(config), values, where, None if rest else name)


def parse(text: str, annotation: Any, flag: str) -> Any:
  """The value of the annotated type that a command-line word writes, such as `0.9` or
  `TopP(0.9)`; `flag` is the name of the flag.

  Raises:
    ValueError: the word writes no such value.
  """
  value = _parse(text, annotation, flag)
  check_value(value, annotation, flag, 0)
  return value


def _parse(text: str, annotation, flag: str):
  if annotation is str or text in choices(annotation):
    return text
  try:
    node = ast.parse(text.strip(), mode="eval").body
  except (SyntaxError, ValueError, RecursionError, MemoryError):
    node = ast.Constant(text)
  try:
    return _value(node, annotation, flag)
  except Mismatch:
    if accepts(annotation, str):
      return text
    got = abbreviate(repr(text))
    raise ValueError(f"{flag}: {expected(annotation, got)}") from None


def _value(node, annotation, flag: str):
  """The value of a syntax tree, a recipe or a literal."""
  family = family_of(annotation)
  if family is not None:
    call = ast.Call(node, [], []) if isinstance(node, ast.Name) else node
    none = isinstance(node, ast.Name) and _name(node.id) is None
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and not none:
      return _call(call, family, flag)
  try:
    literal = _literal(node)
  except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
    raise Mismatch from None
  return coerce(literal, annotation)


def _literal(node):
  """As `ast.literal_eval`, but a bare name is a string, and `inf` and `nan` are
  numbers."""
  if isinstance(node, ast.Name):
    return _name(node.id)
  if isinstance(node, (ast.Tuple, ast.List)):
    return tuple(_literal(item) for item in node.elts)
  if isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Name):
    node = ast.UnaryOp(node.op, ast.Constant(_name(node.operand.id)))
  return ast.literal_eval(node)


def _name(name: str):
  """What a bare name writes."""
  constants = {"true": True, "false": False, "none": None, "null": None, **NON_FINITE}
  return constants.get(name.lower(), name)


def _call(node: ast.Call, family: type, flag: str):
  """The recipe that a call such as `Noam(warmup=4000)` writes."""
  name = node.func.id  # type: ignore[attr-defined]
  known = members(family)
  if name not in known:
    raise ValueError(no_such_member(flag, name, family))
  cls = known[name]
  fields = annotations(cls)
  if len(node.args) > len(fields):
    raise ValueError(
      f"{flag}: {name} takes at most {len(fields)} values, got {len(node.args)}"
    )
  arguments = dict(zip(fields, node.args, strict=False))
  for keyword in node.keywords:
    if keyword.arg not in fields:
      path = f"{flag}: {name}.{keyword.arg}"
      raise _NoSuchField(path, str(keyword.arg), cls)
    if keyword.arg in arguments:
      raise ValueError(f"{flag}: {name}.{keyword.arg} is set twice")
    arguments[keyword.arg] = keyword.value
  values = {}
  for field, argument in arguments.items():
    try:
      values[field] = _value(argument, fields[field], flag)
    except Mismatch:
      got = abbreviate(ast.unparse(argument))
      raise ValueError(
        f"{flag}: {name}.{field}: {expected(fields[field], got)}"
      ) from None
  return build(cls, values, f"{flag}: {name}")
