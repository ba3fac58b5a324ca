"""The JSON of a request's body, read as one of the dataclasses of `requests.py`."""

import dataclasses
from typing import TYPE_CHECKING, Any, TypeVar

from transformer import config as configs
from transformer.config.recipes import abbreviate, alternatives, no_such_field
from transformer.config.validation import Mismatch, coerce
from transformer.server.limits import Limits, Refusal

if TYPE_CHECKING:
  from _typeshed import DataclassInstance

R = TypeVar("R", bound="DataclassInstance")


def field(
  description: str,
  default: Any = dataclasses.MISSING,
  limit: str = "",
  **schema: Any,
) -> Any:
  """A field of a body.

  Args:
    description: of the field.
    default: if it may be left out.
    limit: the field of `Limits` that has its maximum, if one has.
    **schema: what JSON Schema says of it, such as `minimum`.
  """
  metadata = {"schema": {"description": description, **schema}, "limit": limit}
  return dataclasses.field(default=default, metadata=metadata)


def schema_of(each: dataclasses.Field, limits: Limits) -> dict[str, Any]:
  """What JSON Schema says of a field, apart from its type."""
  schema = each.metadata["schema"]
  if each.metadata["limit"]:
    schema = {**schema, "maximum": getattr(limits, each.metadata["limit"])}
  return schema


def fits(cls: "type[DataclassInstance]", tree: dict[str, Any]) -> bool:
  """Whether a JSON object has the fields of a request, whatever their values: no other,
  and all that are needed."""
  fields = dataclasses.fields(cls)
  needed = {each.name for each in fields if each.default is dataclasses.MISSING}
  return needed <= tree.keys() <= {each.name for each in fields}


def read_object(body: bytes) -> dict[str, Any]:
  """The JSON object of a body.

  Raises:
    Refusal: it is none (400).
  """
  try:
    tree = configs.parse_json(body)
  except ValueError as error:
    raise Refusal(400, f"body: not JSON ({error})") from None
  if not isinstance(tree, dict):
    raise Refusal(400, f"body: expected a JSON object, got {type_name(tree)}")
  return tree


def read(cls: type[R], tree: dict[str, Any], limits: Limits) -> R:
  """The request that a JSON object writes, within a server's limits.

  Raises:
    Refusal: it is broken (400).
  """
  fields = {each.name: each for each in dataclasses.fields(cls)}
  types, values = configs.annotations(cls), {}
  for name, value in tree.items():
    if name not in fields:
      message = no_such_field(abbreviate(name), name, cls)
      raise Refusal(400, message.replace(f"fields of {cls.__name__}", "there are"))
    values[name] = _value(name, value, types[name], schema_of(fields[name], limits))
  missing = [
    name
    for name, each in fields.items()
    if each.default is dataclasses.MISSING and name not in values
  ]
  if missing:
    raise Refusal(400, f"body: {', '.join(missing)} is missing")
  return cls(**values)


def _value(name: str, value: Any, annotation: Any, schema: Any) -> Any:
  """A field's value as its type, within its bounds."""
  if isinstance(value, list):
    value = tuple(value)
  try:
    value = coerce(value, annotation)
  except Mismatch:
    expected = " or ".join(map(json_type, alternatives(annotation)))
    raise Refusal(400, f"{name}: expected {expected}, got {describe(value)}") from None
  texts = value if isinstance(value, tuple) else (value,)
  for text in texts:
    if isinstance(text, str) and any("\ud800" <= c <= "\udfff" for c in text):
      raise Refusal(400, f"{name}: not valid Unicode (half of a surrogate pair)")
  if isinstance(value, int) and not isinstance(value, bool):
    low, high = schema.get("minimum", value), schema.get("maximum", 2**31 - 1)
    if not low <= value <= high:
      got = value if abs(value) < 10**18 else "a larger one"
      raise Refusal(400, f"{name}: expected {low} to {high}, got {got}")
  return value


def json_type(annotation: Any) -> str:
  """A type in the words of JSON."""
  names = {str: "a string", int: "an integer", bool: "true or false", float: "a number"}
  names[type(None)] = "null"
  return names.get(annotation, "a list of strings")


def describe(value: Any) -> str:
  """What kind of JSON value it is; of a list, also what is in it that is no string."""
  kinds = [type_name(each) for each in value] if isinstance(value, tuple) else []
  wrong = [kind for kind in kinds if kind != "a string"]
  return f"a list with {wrong[0]}" if wrong else type_name(value)


def type_name(value: Any) -> str:
  """What kind of JSON value it is."""
  kinds = {str: "a string", int: "an integer", float: "a number", bool: "true or false"}
  kinds |= {type(None): "null", dict: "an object", list: "a list", tuple: "a list"}
  return kinds[type(value)]
