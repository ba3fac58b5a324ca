"""Every numeric setting refuses numbers that have no meaning."""

import dataclasses

import pytest

from transformer import config as configs
from transformer.cli.settings import families
from transformer.config.recipes import alternatives, build
from transformer.data.sources.dates import Dates
from transformer.decoding.penalty import GNMT, Coverage, LengthPower
from transformer.decoding.samplers import Temperature
from transformer.experiment import Config
from transformer.training.mesh import Mesh
from transformer.training.optimizers import Adam
from transformer.training.schedules import Noam, Schedule

SOMETHING = {str: "x", int: 3, float: 0.5}


def numeric_fields(kind: type):
  """Every field of this type of every recipe that a config may have."""
  for family in families(Config):
    for cls in configs.members(family).values():
      # The sizes of a mesh are checked against the devices.
      if cls is Mesh:
        continue
      for name, annotation in configs.annotations(cls).items():
        if kind in alternatives(annotation):
          yield pytest.param(cls, name, id=f"{cls.__name__}.{name}")


def with_value(cls: type, name: str, value):
  """A recipe with this value, all else by default."""
  values = {name: value}
  for field in dataclasses.fields(cls):
    if field.default is dataclasses.MISSING and field.init:
      annotation = configs.annotations(cls)[field.name]
      values.setdefault(field.name, SOMETHING.get(annotation, Dates()))
  return build(cls, values, "here")


@pytest.mark.parametrize("cls, name", numeric_fields(float))
@pytest.mark.parametrize("value", [-3e38, 1e300, 1e-320])
def test_numbers_beyond_meaning_or_float32_are_refused(cls, name, value):
  with pytest.raises(ValueError, match=rf"^here\.{name}: expected .*, got "):
    with_value(cls, name, value)


@pytest.mark.parametrize("cls, name", numeric_fields(int))
def test_negative_integers_are_refused(cls, name):
  with pytest.raises(ValueError, match="-7"):
    with_value(cls, name, -7)


@pytest.mark.parametrize("recipe, message", [
  (Schedule(-1.0), r"schedule\.rate: expected 0 to 1000000, got -1"),
  (Noam(warmup=0), r"schedule\.warmup: expected 1 or more, got 0"),
  (Adam(clip=-1.0), r"optimizer\.clip: expected 0 or more, got -1"),
])  # fmt: skip
def test_a_config_file_is_held_to_the_ranges(recipe, message):
  name = "optimizer" if isinstance(recipe, Adam) else "schedule"
  with pytest.raises(ValueError, match=message):
    Config(Dates(), **{name: recipe})


@pytest.mark.parametrize("make", [
  lambda: GNMT(1e38), lambda: GNMT(-11.0), lambda: LengthPower(1e9),
  lambda: Coverage(1e300), lambda: Temperature(1e-320), lambda: Temperature(1e38),
])  # fmt: skip
def test_recipes_of_decoding_refuse_them_themselves(make):
  with pytest.raises(ValueError, match="expected"):
    make()


def test_what_is_usual_elsewhere_is_accepted():
  recipes = Temperature(1e-6), LengthPower(-2.0), GNMT(3.0), Coverage(5.0)
  assert [dataclasses.astuple(recipe)[0] for recipe in recipes] == [1e-6, -2, 3, 5]
  made = Config(
    Dates(), schedule=Schedule(10.0), optimizer=Adam(clip=1e9, epsilon=1.0), ema=0.9999
  )
  assert (made.schedule.rate, made.optimizer.clip, made.ema) == (10.0, 1e9, 0.9999)
