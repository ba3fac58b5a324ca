"""Models that between them have every recipe: a property that holds for each recipe
alone is tested on a few models that have many at once."""

import dataclasses

import pytest

from transformer import config as configs

SPEED = ("kernel", "remat")
"""Fields whose recipes change no number; they have tests of their own."""


def mixtures(model):
  """Variants of `model` for `pytest.mark.parametrize`: every recipe of each family of
  its fields is in at least one; their number is that of the largest family's."""
  families = {
    field: list(configs.members(family).values())
    for field, family in configs.annotations(type(model)).items()
    if dataclasses.is_dataclass(family) and field not in SPEED
  }
  for number in range(max(map(len, families.values()), default=1)):
    chosen = {f: family[number % len(family)]() for f, family in families.items()}
    names = [type(model).__name__, *(type(c).__name__ for c in chosen.values())]
    yield pytest.param(dataclasses.replace(model, **chosen), id="-".join(names))
