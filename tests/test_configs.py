"""Every experiment in configs/ can be built, shaped, sharded and stored."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from transformer import config as configs
from transformer import experiment, tree
from transformer.experiment import Config
from transformer.training.mesh import Mesh
from transformer.training.state import abstract_state, abstract_weights, init_state

FILES = sorted(Path(__file__).resolve().parent.parent.glob("configs/*.py"))
PARAMETERS = {"dates": 1_050_624, "wmt14_base": 63_045_632, "wmt14_big": 214_171_648}
"""The last two: see docs/papers.md on the vocabulary of 37,000."""


def test_there_are_experiments():
  assert {"dates", "multi30k", *PARAMETERS} <= {path.stem for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_experiment_is_whole(path):
  config = experiment.read(path)
  assert configs.loads(Config, configs.dumps(config)) == config
  assert hash(config) == hash(configs.loads(Config, configs.dumps(config)))
  module = config.model.module(config.tokenizer.vocabulary, jnp.float32)
  weights = abstract_weights(module, config.model.example())
  rule = config.rule(weights)
  init = init_state(module, config.model.example(), rule, jax.random.key(0))
  state = abstract_state(init, Mesh().build())
  if path.stem in PARAMETERS:
    assert tree.size(state.params) == PARAMETERS[path.stem]
  text = path.read_text()
  for word in ("Claim:", "Command:", "Cost:"):
    assert word in text, f"{path.name}: its docstring has no {word}"


def test_read_names_what_is_wrong(tmp_path):
  with pytest.raises(FileNotFoundError, match="no such config file"):
    experiment.read(tmp_path / "x.py")
  (tmp_path / "x.py").write_text("def get_config():\n  return 3\n")
  with pytest.raises(ValueError, match="returns int, no Config"):
    experiment.read(tmp_path / "x.py")
  (tmp_path / "x.py").write_text("import nothing_of_the_kind\n")
  with pytest.raises(ValueError, match="nothing_of_the_kind"):
    experiment.read(tmp_path / "x.py")
  (tmp_path / "x.py").write_text(
    "from transformer.experiment import Config\n"
    "from transformer.data.sources.dates import Dates\n"
    "def get_config():\n  return Config(Dates(), log_every='x')\n"
  )
  with pytest.raises(ValueError, match="log_every"):
    experiment.read(tmp_path / "x.py")


@pytest.mark.parametrize(
  "name, text, free",
  [
    ("accumulate", "4", True),
    ("mesh", "Mesh(fsdp=2)", True),
    ("model.unroll", "3", True),
    ("model.remat", "Full()", True),
    ("model.kernel", "Plain()", True),
    ("task.cross_entropy", "ChunkedCrossEntropy(512)", True),
    ("steps", "7", True),
    ("model.layers", "3", False),
    ("task.smoothing", "0.2", False),
    ("precision", "Bfloat16()", False),
    ("batching.tokens", "512", False),
  ],
)
def test_what_changes_speed_alone_may_change_when_a_run_goes_on(name, text, free):
  old = experiment.read(next(path for path in FILES if path.stem == "dates"))
  new = configs.override(old, name, text)
  assert new != old
  wrong = experiment.conflicts(old, new)
  assert (wrong == []) == free
  assert all(name.split(".")[-1] in line for line in wrong)
  if name in ("model.remat", "task.cross_entropy"):
    other = configs.override(new, name, text.replace("Full", "Projections"))
    assert experiment.conflicts(new, configs.override(other, "steps", "9")) == []
