"""The mesh changes where numbers live, never the numbers; on 8 virtual devices."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.models.test_family import small
from transformer.experiment import MODELS
from transformer.models.seq2seq import Transformer
from transformer.training.mesh import Mesh

ROOT = Path(__file__).resolve().parents[2]
MESHES = (
  Mesh(data=8),
  Mesh(data=1, fsdp=8),
  Mesh(data=4, tensor=2),
  Mesh(data=2, fsdp=2, tensor=2),
)


def measure(name, meshes, updates):
  """Losses, parameters and bytes of one member of the family on one device and under
  every mesh; runs in a process of its own."""
  import dataclasses
  import functools

  import jax
  import numpy as np

  from tests.models.test_seq2seq import example, tokens
  from transformer import config as configs
  from transformer import tree
  from transformer.batch import Pairs
  from transformer.models.base import Model
  from transformer.tasks.language import LanguageModelling
  from transformer.tasks.translation import Translation
  from transformer.training.mesh import batch_sharding, put
  from transformer.training.optimizers import Adam, Sgd
  from transformer.training.schedules import Schedule
  from transformer.training.state import abstract_state, create_state, init_state
  from transformer.training.step import train_step

  rng = np.random.default_rng(0)
  rows = [([example(rng, s)], [example(rng, t)]) for s, t in rng.integers(3, 9, (8, 2))]
  batch = Pairs(tokens([s for s, _ in rows], 9), tokens([t for _, t in rows], 10))
  model = small(configs.members(Model)[name])
  model = dataclasses.replace(model, dropout=0.1)
  module, task = model.module(32), Translation()
  if not isinstance(model.example(), Pairs):
    batch, task = batch.target, LanguageModelling()
  found = []
  for recipe in (Mesh(data=1), *meshes):
    devices = jax.devices()[:1] if recipe == Mesh(data=1) else jax.devices()
    mesh = recipe.build(devices)
    step_of = functools.partial(train_step, functools.partial(task.loss, module))
    losses = []
    with jax.set_mesh(mesh):
      rule = Sgd().transform(lambda count: 0.1)
      init = init_state(module, batch, rule, jax.random.key(1))
      state = create_state(init, abstract_state(init, mesh))
      step = jax.jit(functools.partial(step_of, rule), donate_argnums=0)
      placed = put(batch, batch_sharding(mesh))
      for _ in range(updates):
        state, numbers = step(state, placed, jax.random.key(2))
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
    found.append([losses, np.concatenate(params).tolist(), held])
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
  (losses, params, _), (found, other, _) = measured[0], measured[place + 1]
  assert losses[0] - losses[-1] > 0.1
  assert max(abs(a - b) for a, b in zip(found, losses, strict=True)) < 5e-6
  assert max(abs(a - b) for a, b in zip(params, other, strict=True)) < 5e-6


def test_bytes_of_state_fall_as_they_should(measured):
  one, data, fsdp, tensor, all_three = (held for _, _, held in measured)
  assert data == one
  assert fsdp < 0.2 * one
  assert 0.4 * one < tensor < 0.65 * one
  assert all_three < 0.4 * one


@pytest.mark.parametrize(
  "name", [kind.__name__ for kind in MODELS if kind is not Transformer]
)
def test_a_mesh_of_all_kinds_trains_every_member_as_one_device_does(name):
  (losses, params, held), (found, other, less) = measured_apart(name, MESHES[-1:], 4)
  assert losses[0] != losses[-1]
  assert max(abs(a - b) for a, b in zip(found, losses, strict=True)) < 5e-6
  assert max(abs(a - b) for a, b in zip(params, other, strict=True)) < 5e-6
  # Split over fsdp or tensor or both, but for what is small.
  assert less < 0.6 * held
