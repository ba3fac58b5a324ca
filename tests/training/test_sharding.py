"""The mesh changes where numbers live, never the numbers; on 8 virtual devices."""

import collections
import dataclasses
import functools
import math
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.test_family import small
from tests.models.test_transformer import example, tokens
from transformer import config as configs
from transformer import experiment, tree
from transformer.batch import Pairs, Tokens
from transformer.data.batching import Grouped, Packed, Rows, Shape
from transformer.models.base import Model
from transformer.models.parent import ParentModel
from transformer.models.transformer import Transformer
from transformer.runs import trainer
from transformer.tasks.base import Task
from transformer.training.mesh import (
  Mesh,
  batch_sharding,
  bytes_per_device,
  check_batches,
  check_weights,
  put,
)
from transformer.training.optimizers import SGD, Adam
from transformer.training.state import abstract_state, create_state, init_state
from transformer.training.step import step_program

ROOT = Path(__file__).resolve().parents[2]
ALONE = Mesh(data=8), Mesh(data=1, fsdp=8), Mesh(data=4, tensor=2)
TOGETHER = (
  Mesh(data=2, fsdp=2, tensor=2),
  Mesh(data=1, sequence=2),
  Mesh(data=2, sequence=2),
  Mesh(data=2, tensor=2, sequence=2),
)
VOCABULARY = 32


def is_tokens(leaf):
  return isinstance(leaf, Tokens)


def reads_tokens(model):
  return any(map(is_tokens, jax.tree.leaves(model.example(), is_leaf=is_tokens)))


def trained():
  """Pairs of names with every model and every task, found by themselves: each model
  with a task that has its batches, another one for each model where there are more."""
  models, tasks = collections.defaultdict(list), collections.defaultdict(list)
  for name, model in configs.members(Model).items():
    if model is ParentModel:
      continue
    models[type(small(model).example())].append(name)
  for name, task in configs.members(Task).items():
    tasks[type(task().example(Shape(8, 1, 1)))].append(name)
  for reads in sorted(models.keys() | tasks.keys(), key=repr):
    one, other = models[reads], tasks[reads][::-1]
    for number in range(max(len(one), len(other))):
      yield one[number % len(one)], other[number % len(other)]


def random_batch(model, task):
  """Eight rows of what the model reads, with random numbers in them."""
  rng = np.random.default_rng(0)

  def fill(leaf):
    if is_tokens(leaf):
      rows = [[example(rng, size)] for size in rng.integers(3, 9, 8)]
      return tokens(rows, leaf.id_bt.shape[1])
    stop = 256 if leaf.dtype == np.uint8 else 7
    return rng.integers(1, stop, (8, *leaf.shape[1:])).astype(leaf.dtype)

  empty = task.example(Shape(8, 12, 10)) if reads_tokens(model) else model.example()
  batch = jax.tree.map(fill, empty, is_leaf=is_tokens)
  if hasattr(batch, "real_b"):  # the first row is empty
    batch = batch._replace(real_b=np.arange(8, dtype=np.int32).clip(max=1))
  return batch


@dataclasses.dataclass(frozen=True)
class Measured:
  """Of training on one mesh: losses by update, parameters after the last, bytes of
  parameters and of a step's temporaries on one device."""

  losses: list[float]
  params: np.ndarray
  param_bytes: int
  temporary_bytes: int


def build(recipe):
  """A mesh of the first devices."""
  return recipe.build(jax.devices()[: math.prod(dataclasses.astuple(recipe))])


def measure(name, task_name, recipe, updates=5, rate=0.3):
  """Trains a model on a mesh."""
  model, task = small(configs.members(Model)[name]), configs.members(Task)[task_name]()
  if hasattr(model, "dropout"):
    model = dataclasses.replace(model, dropout=0.1)
  batch, module = random_batch(model, task), model.module(VOCABULARY)
  mesh, losses = build(recipe), []
  with jax.set_mesh(mesh):
    rule = SGD().transform(lambda count: rate)
    init = init_state(module, batch, rule, jax.random.key(1))
    abstract = abstract_state(init, mesh)
    state = create_state(init, abstract)
    step = step_program(functools.partial(task.loss, module), rule, abstract)
    placed = put(batch, batch_sharding(mesh))
    program = step.lower(state, placed, jax.random.key(2)).compile()
    for _ in range(updates):
      state, numbers = program(state, placed, jax.random.key(2))
      losses.append(float(numbers.loss.value))
  held = sum(
    shard.data.nbytes
    for leaf in jax.tree.leaves(state.params)
    for shard in leaf.addressable_shards
    if shard.device == jax.devices()[0]
  )
  assert held == bytes_per_device(abstract.params)
  params = [np.asarray(leaf).ravel() for leaf in tree.paths(state.params).values()]
  temporary = program.memory_analysis().temp_size_in_bytes
  return Measured(losses, np.concatenate(params), held, temporary)


def state_bytes(recipe):
  """Bytes of the Transformer and its optimizer on one device of a mesh."""
  model, mesh = small(Transformer), build(recipe)
  rule = Adam().transform(lambda count: 0.1)
  init = init_state(model.module(VOCABULARY), model.example(), rule, jax.random.key(1))
  with jax.set_mesh(mesh):
    state = abstract_state(init, mesh)
  return bytes_per_device((state.params, state.opt_state))


def largest_differences(one, other):
  """Of losses and of parameters."""
  losses = np.abs(np.subtract(one.losses, other.losses)).max()
  return losses, np.abs(one.params - other.params).max()


@pytest.fixture(scope="module")
def measured(eight_devices):
  """The Transformer's `Measured` by mesh, each trained when it is asked for."""
  return functools.cache(
    functools.partial(eight_devices, measure, "Transformer", "Translation")
  )


@pytest.mark.parametrize(
  "mesh",
  # What goes wrong on one kind of axis alone is seen where there are others, too.
  [*(pytest.param(mesh, marks=pytest.mark.slow) for mesh in ALONE), *TOGETHER],
  ids=repr,
)
def test_updates_are_those_of_one_device(measured, mesh):
  one = measured(Mesh(data=1))
  assert one.losses[0] - one.losses[-1] > 0.1
  assert max(largest_differences(one, measured(mesh))) < 5e-6


def test_bytes_of_state_fall_as_they_should(eight_devices):
  one, data, fsdp, tensor, all_three, sequence, _, both = (
    eight_devices(state_bytes, mesh) for mesh in (Mesh(data=1), *ALONE, *TOGETHER)
  )
  assert data == one == sequence
  assert fsdp < 0.2 * one
  assert 0.4 * one < tensor < 0.65 * one
  assert all_three < 0.4 * one
  assert tensor == both


def test_sequence_parallelism_divides_the_activations(measured):
  gradients = measured(Mesh(data=1)).params.nbytes

  def activations(mesh):
    return measured(mesh).temporary_bytes - gradients

  whole = activations(Mesh(data=1))
  assert activations(Mesh(data=1, sequence=2)) < 0.7 * whole
  assert activations(Mesh(data=2, sequence=2)) < 0.45 * whole


def boxed(model, vocabulary=32):
  """Abstract parameters that know their axes."""
  batch = Pairs(*(Tokens(*(jnp.ones((2, 3), jnp.int32),) * 3),) * 2)
  return jax.eval_shape(model.module(vocabulary).init, jax.random.key(0), batch)


SIZES = dict(layers=2, d_model=12, d_ff=20, heads=6, d_k=2)


@pytest.mark.parametrize(
  "sizes, vocabulary, message",
  [
    (dict(tensor=4), 32, r"heads 6 .* tensor=4; it divides over 1, 2, 3, 6 .* 4 or 8"),
    (dict(tensor=3), 33, r"d_ff 20 does not divide over tensor=3; .* 18 or 21$"),
    (dict(tensor=2), 37_001, r"the vocabulary 37,001 .* or choose 37,000 or 37,002$"),
    (dict(fsdp=8), 32, r"d_model 12 .* fsdp=8; it divides over 1, 2, 3, 4, 6, 12 dev"),
  ],
)
def test_weights_that_do_not_divide_are_refused_with_sizes_that_would(
  sizes, vocabulary, message
):
  weights = boxed(Transformer(**SIZES), vocabulary)
  one = dict(data=1, fsdp=1, tensor=1, sequence=1)
  check_weights(one, weights)
  with pytest.raises(ValueError, match=message) as error:
    check_weights(one | sizes, weights)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(
  "sizes, accumulate, message",
  [
    (
      dict(data=6),
      1,
      r"2,128 rows padded to 12 tokens .* over 6 devices .*: use "
      r"--config.batching.row_multiple=24, or .* from 1, 2, 4, 8, 16$",
    ),
    (
      dict(data=32, fsdp=2),
      3,
      r"2,128 rows .* 64 devices .* in 3 parts: use --config.batching.tokens=147456 "
      r"--config.batching.row_multiple=192, or .* from none$",
    ),
    (
      dict(sequence=3),
      1,
      r"rows of 256 tokens .* over 3 devices; choose from 1, 2, 4, or",
    ),
  ],
)
def test_batches_that_do_not_divide_are_refused_with_sizes_that_would(
  sizes, accumulate, message
):
  one = dict(data=1, fsdp=1, tensor=1, sequence=1)
  batching = Grouped(tokens=25_600, lengths=(12, 256, 768))
  check_batches(one, batching)
  with pytest.raises(ValueError, match=message) as error:
    check_batches(one | sizes, batching, accumulate)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize("data, accumulate", [(16, 1), (6, 2), (1, 7)])
@pytest.mark.parametrize(
  "batching", [Grouped(2048, (12, 48)), Packed(192, 64), Rows(100)], ids=configs.written
)
def test_settings_that_the_refusal_names_are_not_refused(batching, data, accumulate):
  sizes = dict(data=data, fsdp=1, tensor=1, sequence=1)
  with pytest.raises(ValueError) as error:
    check_batches(sizes, batching, accumulate)
  named = re.findall(r"--config.batching.(\w+=\d+)", str(error.value))
  for name, text in (each.split("=") for each in named):
    batching = configs.replace(batching, name, int(text))
  assert named
  check_batches(sizes, batching, accumulate)


def test_training_refuses_before_it_makes_anything(tmp_path):
  config = experiment.read_config(ROOT / "configs" / "dates.py")
  batching = dataclasses.replace(config.batching, tokens=config.batching.tokens + 1)
  config = dataclasses.replace(config, accumulate=7, batching=batching)
  with pytest.raises(ValueError, match="in 7 parts"):
    trainer.train(config, tmp_path / "run")
  assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
  "name, task", [pair for pair in trained() if pair != ("Transformer", "Translation")]
)
def test_a_mesh_of_all_kinds_trains_every_model_as_one_device_does(
  eight_devices, name, task
):
  # Rows without tokens, as images are, have nothing to divide over `sequence`.
  has_tokens = reads_tokens(small(configs.members(Model)[name]))
  meshes = Mesh(data=1), TOGETHER[-1] if has_tokens else TOGETHER[0]
  # Batch norm over few small images multiplies rounding by 50 at every update.
  size = (2, 0.1) if name == "ResNet" else (4, 0.3)
  one, many = (eight_devices(measure, name, task, mesh, *size) for mesh in meshes)
  assert one.losses[0] != one.losses[-1]
  losses, params = largest_differences(one, many)
  assert losses < 5e-6 and params < (1e-4 if name == "ResNet" else 5e-6)
  # Split over fsdp or tensor or both, but for what is small.
  assert many.param_bytes < 0.6 * one.param_bytes


def test_every_model_and_every_task_is_trained_on_a_mesh():
  models, tasks = zip(*trained(), strict=True)
  assert set(models) == set(configs.members(Model)) - {"ParentModel"}
  assert set(tasks) == set(configs.members(Task))
