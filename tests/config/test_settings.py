"""Settings that can be found: the list of all, and what a wrong name is taken for."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from transformer import config as configs
from transformer import experiment
from transformer.cli import settings as verb
from transformer.config.synonyms import SYNONYMS
from transformer.experiment import Config

ROOT = Path(__file__).resolve().parent.parent.parent
CONFIG = experiment.read_config(ROOT / "configs" / "dates.py")


def transformer_recipes():
  for family in verb.families(Config):
    for cls in configs.members(family).values():
      if cls.__module__.startswith("transformer."):
        yield cls


def test_every_setting_of_every_recipe_has_a_meaning():
  recipes = list(transformer_recipes())
  assert len(recipes) > 100
  without = [
    f"{cls.__name__}.{name}"
    for cls in recipes
    for name in configs.annotations(cls)
    if not configs.field_meanings(cls).get(name)
  ]
  assert without == []


def test_no_meaning_is_of_a_field_that_is_not_there():
  for cls in transformer_recipes():
    own = configs.field_meanings(cls).keys() - {f.name for f in dataclasses.fields(cls)}
    assert own == set(), cls


def test_settings_are_listed_with_value_type_and_meaning():
  text = configs.format_settings(CONFIG)
  assert (
    "model.position = Sinusoid()\n    how tokens know their positions. (a P" in text
  )
  assert "schedule.warmup = " in text and "updates until the learning rate" in text
  assert "steps = " in text and "the number of updates. (an integer)" in text
  paths = [line.partition(" = ")[0] for line in text.splitlines() if line[0] != " "]
  assert paths == [setting.path for setting in configs.settings(CONFIG)]
  assert {"data", "model.position.base", "task.search.beam"} <= {*paths}


@pytest.mark.parametrize(
  "name, path",
  [
    ("learning_rate", "schedule.rate"),
    ("lr", "schedule.rate"),
    ("optimizer.lr", "schedule.rate"),
    ("batch_size", "batching.tokens"),
    ("max_tokens", "batching.tokens"),
    ("epochs", "steps"),
    ("warmup_steps", "schedule.warmup"),
    ("num_layers", "model.layers"),
    ("model.num_layers", "model.layers"),
    ("hidden_size", "model.d_model"),
    ("num_heads", "model.heads"),
    ("position", "model.position"),
    ("postion", "model.position"),
    ("vocab_size", "tokenizer.vocabulary"),
    ("label-smoothing", "task.smoothing"),
    ("modl", "model"),
  ],
)
def test_a_wrong_name_is_answered_with_ours(name, path):
  with pytest.raises(ValueError, match=rf"did you mean {path}[?,]"):
    configs.override(CONFIG, name, "1")


def test_a_name_at_several_depths_is_the_shallowest():
  with pytest.raises(ValueError, match=r"did you mean model\.dropout\?"):
    configs.override(CONFIG, "dropout", "0")


def test_every_synonym_leads_to_a_setting():
  """Of some recipe: the attributes of all members of a family count."""
  names = {f"{path}" for path in reachable(Config)}
  assert {path for paths in SYNONYMS.values() for path in paths} - names == set()


def reachable(cls: type, prefix: str = "", depth: int = 0):
  for name, annotation in configs.annotations(cls).items():
    yield f"{prefix}{name}"
    family = configs.family_of(annotation)
    if family is not None and depth < 2:
      for member in configs.members(family).values():
        yield from reachable(member, f"{prefix}{name}.", depth + 1)


def test_the_page_of_all_settings_is_the_stored_one():
  """In its own process: other tests define recipes too."""
  command = [sys.executable, "-m", "transformer.cli", "settings"]
  made = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
  stored = (ROOT / "docs" / "settings.md").read_bytes()
  assert made == stored, "run: transformer settings > docs/settings.md"


@pytest.mark.parametrize("flag", ["--help", "--config.help"])
def test_train_lists_the_settings_of_the_config(flag):
  command = [sys.executable, "train.py", "--config", "configs/rnn.py", flag]
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 0 and done.stderr == ""
  assert "model.reverse = True\n    reads the source from its end" in done.stdout
  assert ("--workdir" in done.stdout) == (flag == "--help")
