"""The mesh changes where numbers live, never the numbers; on 8 virtual devices."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.models.test_family import small
from transformer.batch import Pairs, Tokens
from transformer.experiment import MODELS
from transformer.models.transformer import Transformer
from transformer.training.mesh import Mesh, check_batches, check_weights

ROOT = Path(__file__).resolve().parents[2]
MESHES = (
  Mesh(data=8),
  Mesh(data=1, fsdp=8),
  Mesh(data=4, tensor=2),
  Mesh(data=2, fsdp=2, tensor=2),
  Mesh(data=1, sequence=2),
  Mesh(data=2, sequence=2),
  Mesh(data=2, tensor=2, sequence=2),
)


def measure(name, meshes, updates):
  """Losses, parameters and bytes of one member of the family on one device and under
  every mesh; runs in a process of its own."""
  import dataclasses
  import functools
  import math

  import jax
  import numpy as np

  from tests.models.test_transformer import example, tokens
  from transformer import config as configs
  from transformer import tree
  from transformer.batch import Segments, Labelled, Pairs, Tokens
  from transformer.models.base import Model
  from transformer.tasks.image_classification import ImageClassification
  from transformer.tasks.language_modelling import LanguageModelling
  from transformer.tasks.masked_language_modelling import MaskedLanguageModelling
  from transformer.tasks.segment_language_modelling import SegmentLanguageModelling
  from transformer.tasks.text_classification import TextClassification
  from transformer.tasks.translation import Translation
  from transformer.training.mesh import batch_sharding, put
  from transformer.training.optimizers import SGD, Adam
  from transformer.training.schedules import Schedule
  from transformer.training.state import abstract_state, create_state, init_state
  from transformer.training.step import step_program

  rng = np.random.default_rng(0)
  rows = [([example(rng, s)], [example(rng, t)]) for s, t in rng.integers(3, 9, (8, 2))]
  batch = Pairs(tokens([s for s, _ in rows], 12), tokens([t for _, t in rows], 10))
  model = small(configs.members(Model)[name])
  if hasattr(model, "dropout"):
    model = dataclasses.replace(model, dropout=0.1)
  module, task = model.module(32), Translation()
  if name == "Bert":
    batch, task = batch.target, MaskedLanguageModelling(mask_rate=0.4)
  elif name == "BertClassifier":
    first_bt = np.where(batch.target.pos_bt == 0, batch.target.id_bt % 7, -1)
    batch = Labelled(batch.target, np.where(batch.target.seg_bt == 0, -1, first_bt))
    task = TextClassification(tuple("abcdefg"))
  elif name == "TransformerXL":
    batch, task = Segments(*batch), SegmentLanguageModelling()
  elif isinstance(model.example(), Tokens):
    batch, task = batch.target, LanguageModelling()
  elif not isinstance(model.example(), Pairs):

    def eight(leaf):
      return rng.integers(1, 32, (8, *leaf.shape[1:])).astype(leaf.dtype)

    batch, task = jax.tree.map(eight, model.example()), ImageClassification()
    batch = batch._replace(real_b=np.minimum(batch.label_b, 1))
  found = []
  for recipe in (Mesh(data=1), *meshes):
    devices = jax.devices()[: math.prod(dataclasses.astuple(recipe))]
    mesh = recipe.build(devices)
    loss = functools.partial(task.loss, module)
    losses = []
    with jax.set_mesh(mesh):
      rule = SGD().transform(lambda count: 0.1)
      init = init_state(module, batch, rule, jax.random.key(1))
      abstract = abstract_state(init, mesh)
      state, step = create_state(init, abstract), step_program(loss, rule, abstract)
      placed = put(batch, batch_sharding(mesh))
      program = step.lower(state, placed, jax.random.key(2)).compile()
      temporary = program.memory_analysis().temp_size_in_bytes
      for _ in range(updates):
        state, numbers = program(state, placed, jax.random.key(2))
        losses.append(float(numbers.loss.value))
      adam = Adam().transform(lambda count: Schedule()(count, 16))
      init = init_state(module, batch, adam, jax.random.key(1))
      whole = create_state(init, abstract_state(init, mesh))
    first = devices[0]
    held = sum(
      shard.data.nbytes
      for leaf in jax.tree.leaves((whole.params, whole.opt_state))
      for shard in leaf.addressable_shards
      if shard.device == first
    )
    params = [np.asarray(leaf).ravel() for leaf in tree.paths(state.params).values()]
    found.append([losses, np.concatenate(params).tolist(), held, temporary])
  print(json.dumps(found))


def measured_apart(name, meshes, updates):
  program = (
    "from tests.training.test_sharding import Mesh, measure; "
    f"measure({name!r}, {meshes!r}, {updates})"
  )
  done = subprocess.run(
    [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True,
    env={**os.environ, "JAX_NUM_CPU_DEVICES": "8", "PYTHONPATH": str(ROOT)},
  )  # fmt: skip
  assert done.returncode == 0, done.stderr[-2000:]
  return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def measured():
  return measured_apart("Transformer", MESHES, 20)


@pytest.mark.parametrize("place", range(len(MESHES)), ids=lambda i: repr(MESHES[i]))
def test_twenty_updates_are_those_of_one_device(measured, place):
  (losses, params, *_), (found, other, *_) = measured[0], measured[place + 1]
  assert losses[0] - losses[-1] > 0.1
  assert max(abs(a - b) for a, b in zip(found, losses, strict=True)) < 5e-6
  assert max(abs(a - b) for a, b in zip(params, other, strict=True)) < 5e-6


def test_bytes_of_state_fall_as_they_should(measured):
  one, data, fsdp, tensor, all_three, sequence, _, both = (
    held for _, _, held, _ in measured
  )
  assert data == one == sequence
  assert fsdp < 0.2 * one
  assert 0.4 * one < tensor < 0.65 * one
  assert all_three < 0.4 * one
  assert tensor == both


def test_sequence_parallelism_divides_the_activations(measured):
  temporary = {
    mesh: found[3] for mesh, found in zip((None, *MESHES), measured, strict=True)
  }
  gradients = len(measured[0][1]) * 4
  whole = temporary[None] - gradients
  assert temporary[Mesh(data=1, sequence=2)] - gradients < 0.7 * whole
  assert temporary[Mesh(data=2, sequence=2)] - gradients < 0.45 * whole


def boxed(model, vocabulary=32):
  """Abstract parameters that know their axes."""
  import jax
  import jax.numpy as jnp

  from transformer.batch import Pairs, Tokens

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
  from transformer.models.transformer import Transformer

  weights = boxed(Transformer(**SIZES), vocabulary)
  one = dict(data=1, fsdp=1, tensor=1, sequence=1)
  check_weights(one, weights)
  with pytest.raises(ValueError, match=message) as error:
    check_weights(one | sizes, weights)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(
  "sizes, accumulate, message",
  [
    (dict(data=8), 1, r"2,133 rows of 12 slots .* over 8 dev.* 24,576 or 30,720"),
    (dict(data=2, fsdp=2), 3, r"2,133 rows .* 4 devices .* in 3 parts; "),
    (
      dict(sequence=3),
      1,
      r"rows of 256 slots .* sequence=3; choose sequence from 1, 2, 4, or",
    ),
  ],
)
def test_batches_that_do_not_divide_are_refused_with_sizes_that_would(
  sizes, accumulate, message
):
  from transformer.data.batching import Grouped

  one = dict(data=1, fsdp=1, tensor=1, sequence=1)
  batching = Grouped(tokens=25_600, lengths=(12, 256, 768))
  check_batches(one, batching.shapes)
  with pytest.raises(ValueError, match=message) as error:
    check_batches(one | sizes, batching.shapes, accumulate)
  assert "\n" not in str(error.value)


def test_sizes_that_the_refusal_names_are_not_refused():
  from transformer.data.batching import Grouped

  for data, accumulate in ((8, 1), (6, 2), (1, 7)):
    sizes = dict(data=data, fsdp=1, tensor=1, sequence=1)
    with pytest.raises(ValueError) as error:
      check_batches(sizes, Grouped(25_600).shapes, accumulate)
    named = re.search(r"batching.tokens ([\d,]+) or ([\d,]+)", str(error.value))
    for tokens in named.groups():
      batching = Grouped(int(tokens.replace(",", "")))
      check_batches(sizes, batching.shapes, accumulate)


def test_training_refuses_before_it_makes_anything(tmp_path):
  from transformer import experiment
  from transformer.runs import trainer

  config = experiment.read(ROOT / "configs" / "dates.py")
  batching = dataclasses.replace(config.batching, tokens=config.batching.tokens + 1)
  config = dataclasses.replace(config, accumulate=7, batching=batching)
  with pytest.raises(ValueError, match="in 7 parts"):
    trainer.train(config, tmp_path / "run")
  assert not (tmp_path / "run").exists()


def takes_tokens(kind):
  return isinstance(small(kind).example(), Pairs | Tokens)


@pytest.mark.parametrize(
  "name", [kind.__name__ for kind in MODELS if kind is not Transformer]
)
def test_a_mesh_of_all_kinds_trains_every_member_as_one_device_does(name):
  # Rows of one slot, as images are, have nothing to divide over `sequence`.
  takes = {kind.__name__: takes_tokens(kind) for kind in MODELS}
  meshes = MESHES[-1:] if takes[name] else (Mesh(data=2, fsdp=2, tensor=2),)
  # Batch norm over few small images makes 50 times as much of rounding at every update.
  updates, tolerance = (2, 1e-4) if name == "ResNet" else (4, 5e-6)
  one, many = measured_apart(name, meshes, updates)
  (losses, params, held, _), (found, other, less, _) = one, many
  assert losses[0] != losses[-1]
  assert max(abs(a - b) for a, b in zip(found, losses, strict=True)) < 5e-6
  assert max(abs(a - b) for a, b in zip(params, other, strict=True)) < tolerance
  # Split over fsdp or tensor or both, but for what is small.
  assert less < 0.6 * held
