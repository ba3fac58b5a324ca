"""Every recipe by its name: on the command line, in JSON, and as part of a hash."""

import dataclasses

import pytest

from transformer import config as configs
from transformer.experiment import Config
from transformer.models.transformer import Transformer

BASE = Config(configs.members(configs.annotations(Config)["data"])["Dates"]())


def recipes():
  """`(path of the field, name, member)` of every family of a config and its model."""
  for prefix, owner in (("", Config), ("model.", Transformer)):
    for field, kind in configs.annotations(owner).items():
      if dataclasses.is_dataclass(kind) and field not in ("data", "model"):
        for name, member in configs.members(kind).items():
          yield pytest.param(prefix + field, name, member, id=f"{field}-{name}")


@pytest.mark.parametrize("path, name, member", recipes())
def test_a_recipe_is_on_the_command_line_and_in_json(path, name, member):
  config = configs.override(BASE, path, f"{name}()")
  value = config
  for field in path.split("."):
    value = getattr(value, field)
  assert value == member() and type(value) is member
  again = configs.loads(Config, configs.dumps(config))
  assert again == config and hash(again) == hash(config)
  assert (configs.digest(config) == configs.digest(BASE)) == (config == BASE)


def test_a_recipe_takes_its_values_on_the_command_line():
  config = configs.override(BASE, "model.position", "Rope(base=5e5)")
  assert repr(config.model.position) == "Rope(base=500000.0)"
  with pytest.raises(ValueError, match="did you mean Rope"):
    configs.override(BASE, "model.position", "Rop()")
  with pytest.raises(ValueError, match="expected a clip of 1 or more, got 0"):
    configs.override(BASE, "model.position", "Shaw(clip=0)")
