"""Models that between them have every recipe: a property that holds for each recipe
alone is tested on a few models that have many at once."""

import dataclasses

import pytest

from transformer import config as configs

SPEED = ("kernel", "remat")
"""Fields whose recipes change no number; they have tests of their own."""

SWITCHES = ("biases", "logits_bias")
"""Settings that are on or off and change what is computed."""


def mixtures(model):
  """Variants of `model` for `pytest.mark.parametrize`: every recipe of each family of
  its fields is in at least one; their number is that of the largest family's."""
  unused = getattr(model, "unused", ())
  known = {f: k for f, k in configs.annotations(type(model)).items() if f not in unused}
  families: dict = {
    field: list(configs.members(family).values())
    for field, family in known.items()
    if dataclasses.is_dataclass(family) and field not in SPEED
  }
  switches = [field for field in SWITCHES if field in known]
  for number in range(max(map(len, families.values()), default=1)):
    chosen = {f: family[number % len(family)]() for f, family in families.items()}
    names = [type(model).__name__, *(type(c).__name__ for c in chosen.values())]
    # In pairs, so that a switch meets more than every second recipe.
    chosen |= {f: bool(number // (i + 1) % 2) for i, f in enumerate(switches)}
    yield pytest.param(dataclasses.replace(model, **chosen), id="-".join(names))
