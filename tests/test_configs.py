"""Every experiment in configs/ can be built, shaped, sharded and stored."""

import dataclasses
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

from transformer import config as configs
from transformer import experiment, tree
from transformer.experiment import Config
from transformer.models.parent import ParentModel
from transformer.models.transformer import Transformer
from transformer.training.mesh import AXES, check_batches, check_weights
from transformer.training.state import abstract_weights

FILES = sorted(Path(__file__).resolve().parent.parent.glob("configs/*.py"))
PARAMETERS = {"dates": 1_050_624, "wmt14_base": 63_045_632, "wmt14_big": 214_171_648}
"""The last two: see docs/papers.md on the vocabulary of 37,000."""

MESHES = (
  {"data": 2},
  {"data": 4},
  {"data": 8},
  {"fsdp": 8},
  {"data": 4, "tensor": 2},
  {"data": 4, "sequence": 2},
  {"fsdp": 2, "tensor": 2, "sequence": 2},
)
NO_SEQUENCE = {"memory_network", "resnet", "vit"}
"""Their rows hold one example each, without a sequence axis to split."""


def test_there_are_experiments():
  assert {"dates", "multi30k", *PARAMETERS} <= {path.stem for path in FILES}
  assert {path.stem for path in FILES} > NO_SEQUENCE


def abstract_params(config):
  """Shapes of the parameters, with the names of their axes."""
  vocabulary = config.task.vocabulary_size(config.data, config.tokenizer)
  module = config.model.module(vocabulary, jnp.float32)
  init = functools.partial(module.init, jax.random.key(0), config.model.example())
  return jax.eval_shape(init)["params"]


def read(path):
  """The config of a file, with a model in place of that of another run."""
  config = experiment.read_config(path)
  if isinstance(config.model, ParentModel):
    return dataclasses.replace(config, model=Transformer())
  return config


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_experiment_is_whole(path):
  config = read(path)
  assert configs.loads(Config, configs.dumps(config)) == config
  assert hash(config) == hash(configs.loads(Config, configs.dumps(config)))
  params = nn.unbox(abstract_params(config))
  module = config.model.module(config.tokenizer.vocabulary, jnp.float32)
  weights = abstract_weights(module, config.model.example())
  rule = config.gradient_transformation(weights)
  assert jax.tree.leaves(jax.eval_shape(rule.init, params))
  if path.stem in PARAMETERS:
    assert tree.size(params) == PARAMETERS[path.stem]
  text = path.read_text()
  for word in ("Claim:", "Command:", "Cost:", "Result:"):
    assert word in text, f"{path.name}: its docstring has no {word}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_experiment_divides_over_2_4_and_8_devices(path):
  config = read(path)
  params = abstract_params(config)
  for mesh in MESHES:
    sizes = dict.fromkeys(AXES, 1) | mesh
    if not (path.stem in NO_SEQUENCE and "sequence" in mesh):
      check_weights(sizes, params)
    check = functools.partial(check_batches, sizes, config.batching, config.accumulate)
    if path.stem in NO_SEQUENCE and "sequence" in mesh:
      with pytest.raises(ValueError, match="rows of 1 tokens"):
        check()
    else:
      check()


def test_read_config_names_what_is_wrong(tmp_path):
  path = tmp_path / "x.py"
  with pytest.raises(FileNotFoundError, match=r"x\.py: no such Python file"):
    experiment.read_config(path)
  path.write_text("def get_config():\n  return 3\n")
  with pytest.raises(ValueError, match="to return a Config, got int"):
    experiment.read_config(path)
  path.write_text("import no_such_module\n")
  with pytest.raises(ValueError, match="no_such_module"):
    experiment.read_config(path)
  path.write_text("STEPS = 3\n")
  with pytest.raises(ValueError, match=r"expected a function get_config\(\)"):
    experiment.read_config(path)
  path.write_text(
    "from transformer.experiment import Config\n"
    "from transformer.data.sources.dates import Dates\n"
    "def get_config():\n  return Config(Dates(), log_every='x')\n"
  )
  with pytest.raises(ValueError, match=r"config\.log_every: expected an integer"):
    experiment.read_config(path)


@pytest.mark.parametrize(
  "settings, message",
  [
    ("steps=0", "steps: expected 1 or more, got 0"),
    ("seed=-1", "seed: expected 0 or more, got -1"),
    ("ema=1", "ema: expected 0 to 0.9999999, got 1.0"),
    ("metric=belu",
     "metric: expected a score of Translation (loss, exact_match, bleu, chrf), "
     "got 'belu'"),
  ],
)  # fmt: skip
def test_a_config_names_the_setting_that_is_out_of_range(settings, message):
  config = experiment.read_config(next(p for p in FILES if p.stem == "dates"))
  name, text = settings.split("=")
  with pytest.raises(ValueError) as error:
    configs.override(config, name, text)
  assert str(error.value) == f"--config.{message}"


@pytest.mark.parametrize(
  "name, text, may_change",
  [
    ("accumulate", "4", True),
    ("mesh", "Mesh(fsdp=2)", True),
    ("model.unroll", "3", True),
    ("model.remat", "Full()", True),
    ("model.kernel", "Plain()", True),
    ("task.cross_entropy", "ChunkedCrossEntropy(512)", True),
    ("steps", "7", False),  # the schedule of this config follows it
    ("save_every", "7", True),
    ("model.layers", "3", False),
    ("task.smoothing", "0.2", False),
    ("precision", "Bfloat16()", False),
    ("batching.tokens", "512", False),
  ],
)
def test_only_settings_of_speed_and_length_may_change_on_resume(name, text, may_change):
  old = experiment.read_config(next(path for path in FILES if path.stem == "dates"))
  new = configs.override(old, name, text)
  assert new != old
  conflicts = experiment.resume_conflicts(old, new)
  assert (conflicts == []) == may_change
  assert all(name.split(".")[-1] in line for line in conflicts)
  if name in ("model.remat", "task.cross_entropy"):
    other = configs.override(new, name, text.replace("Full", "Projections"))
    other = configs.override(other, "eval_every", "9")
    assert experiment.resume_conflicts(new, other) == []


def test_the_width_of_a_convolution_is_no_setting_of_speed():
  old = experiment.read_config(next(path for path in FILES if path.stem == "dates"))
  old = configs.override(old, "model", "ConvSeq2Seq(kernel=3)")
  new = configs.override(old, "model.kernel", "5")
  assert experiment.resume_conflicts(old, new) == ["model.kernel: 3 in the run, 5 now"]


def test_more_steps_are_taken_on_resume_where_the_schedule_has_its_own_length():
  old = experiment.read_config(next(path for path in FILES if path.stem == "dates"))
  new = configs.override(old, "steps", "2000")
  (conflict,) = experiment.resume_conflicts(old, new)
  assert conflict == "schedule.steps: 1300 in the run, 2000 now"
  assert (
    experiment.resume_conflicts(old, configs.override(new, "schedule.steps", "1300"))
    == []
  )


def test_conflicts_of_other_recipes_are_short():
  paths = {path.stem: path for path in FILES}
  old, new = (experiment.read_config(paths[x]) for x in ("dates", "language_model"))
  conflicts = experiment.resume_conflicts(old, new)
  assert any(each.startswith("model: Transformer(") for each in conflicts)
  assert max(map(len, conflicts)) < 180
