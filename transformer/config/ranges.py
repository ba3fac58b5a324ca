"""Ranges of numeric settings, declared as the types of their fields."""

import dataclasses
import functools
import math
import typing
from typing import Annotated, Any, NamedTuple

FLOAT32_SMALLEST, FLOAT32_LARGEST = 1.1754944e-38, 3.4028235e38
"""Of the positive normal numbers of float32, in which settings are computed with."""


class Range(NamedTuple):
  """The values of a setting, `Annotated[float, Range(0, 1)]`.

  Beyond it the setting has no meaning, or what is computed with it overflows or becomes
  zero in float32.
  """

  least: float
  most: float = math.inf

  def __str__(self) -> str:
    if self.most == math.inf:
      return f"{self.least} or more"
    return f"{self.least} to {self.most}"


Fraction = Annotated[float, Range(0, 0.9999999)]
"""From 0 to below 1, in float32 too: a decay, a dropout rate, a smoothing."""

Epsilon = Annotated[float, Range(1e-30, 10)]
"""Added to a number that may be 0, before it divides another."""

Natural = Annotated[int, Range(0)]
"""An integer of 0 or more."""

Positive = Annotated[int, Range(1)]
"""An integer of 1 or more."""


def check_float(name: str, value: float) -> None:
  """Raises ValueError if the setting or flag `name` is infinite or not a number, or
  would be so, or zero, in float32."""
  if not math.isfinite(value):
    raise ValueError(f"{name}: expected a finite number, got {value}")
  if value and not FLOAT32_SMALLEST <= abs(value) <= FLOAT32_LARGEST:
    raise ValueError(
      f"{name}: expected 0 or a number of float32, 1.2e-38 to 3.4e38 in absolute "
      f"value, got {value}"
    )


def check_number(cls: type, field: str, value: Any, name: str) -> None:
  """Raises ValueError if `value` is a number that a field of a recipe class may not
  have; `name` is that of the setting or flag."""
  if not isinstance(value, (int, float)):
    return
  allowed = ranges(cls).get(field)
  if (
    allowed is not None
    and math.isfinite(value)
    and not allowed.least <= value <= allowed.most
  ):
    raise ValueError(f"{name}: expected {allowed}, got {value}")
  if isinstance(value, float):
    check_float(name, value)


def check_numbers(recipe: Any, prefix: str = "") -> None:
  """Raises ValueError if a field of a recipe has a number that it may not have; the
  message begins with `prefix` and the field's name."""
  for field in dataclasses.fields(recipe):
    value = getattr(recipe, field.name)
    check_number(type(recipe), field.name, value, f"{prefix}{field.name}")


@functools.cache
def ranges(cls: type) -> dict[str, Range]:
  """The ranges of the fields of a recipe class that have one."""
  hints = typing.get_type_hints(cls, include_extras=True)
  return {
    name: extra
    for name, hint in hints.items()
    if typing.get_origin(hint) is Annotated
    for extra in hint.__metadata__
    if isinstance(extra, Range)
  }
