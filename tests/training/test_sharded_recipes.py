"""Every recipe on a mesh of 8 virtual devices: the numbers of one device."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.models.test_transformer import (
  MIXTURES,
  SMALL,
  example,
  tokens,
  variables,
)
from transformer import config as configs
from transformer import tree
from transformer.batch import Pairs
from transformer.tasks.translation import Translation
from transformer.training.checkpoint import Checkpoints
from transformer.training.mesh import Mesh, batch_sharding, put
from transformer.training.optimizers import SGD, Optimizer
from transformer.training.state import (
  abstract_state,
  abstract_weights,
  create_state,
  init_state,
)

ROOT = Path(__file__).resolve().parents[2]
QUICK = {"xla_backend_optimization_level": 0}
VOCABULARY = 11 + 1  # divides over the mesh


def apart(function, *arguments):
  """What a function of this file prints as JSON in a process with 8 devices."""
  program = (
    f"from tests.training.test_sharded_recipes import {function} as run; "
    f"run(*{arguments!r})"
  )
  done = subprocess.run(
    [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True,
    env={**os.environ, "JAX_NUM_CPU_DEVICES": "8", "PYTHONPATH": str(ROOT)},
  )  # fmt: skip
  assert done.returncode == 0, done.stderr[-2000:]
  return json.loads(done.stdout.splitlines()[-1])


def meshes():
  """One device, and eight that split rows, widths, and heads."""
  return (
    Mesh(data=1).build(jax.devices()[:1]),
    Mesh(data=2, fsdp=2, tensor=2).build(),
  )


def difference(one, other):
  """The largest difference of two trees, and the largest number."""
  flat = [np.concatenate([np.asarray(x).ravel() for x in jax.tree.leaves(tree)])
          for tree in (one, other)]  # fmt: skip
  return float(np.abs(flat[0] - flat[1]).max()), float(np.abs(flat[0]).max())


def shardings(abstract):
  return jax.tree.map(lambda leaf: leaf.sharding, abstract)


def gradients(number):
  """How gradient and running averages of a mixture differ between the meshes."""
  rng = np.random.default_rng(0)
  rows = [([example(rng, s)], [example(rng, t)]) for s, t in rng.integers(3, 9, (8, 2))]
  batch = Pairs(tokens([s for s, _ in rows], 9), tokens([t for _, t in rows], 10))
  model = dataclasses.replace(MIXTURES[number], dropout=0.1)
  module, weights = model.module(VOCABULARY), variables(model, VOCABULARY)["params"]
  init = init_state(
    module, batch, SGD().transform(lambda count: 1.0), jax.random.key(1)
  )

  def loss(weights, batch):
    sums, batch_stats = Translation().loss(module, weights, batch, jax.random.key(2))
    return sums.total / sums.count, batch_stats

  found = []
  for mesh in meshes():
    with jax.set_mesh(mesh):
      placed = jax.device_put(
        weights, shardings(abstract_state(init, mesh).eval_params)
      )
      run = jax.jit(jax.grad(loss, has_aux=True), compiler_options=QUICK)
      found.append(run(placed, put(batch, batch_sharding(mesh))))
  print(json.dumps(difference(*found)))


@pytest.mark.slow
@pytest.mark.parametrize(
  "number", range(len(MIXTURES)), ids=lambda n: repr(MIXTURES[n])
)
def test_the_gradient_of_every_model_recipe_is_that_of_one_device(number):
  error, size = apart("gradients", number)
  assert size > 1e-3
  assert error < 2e-5 * size


def updates(name, directory):
  """How three updates by given gradients differ between the meshes, and whether a
  checkpoint gives the whole state back."""
  batch = Pairs(tokens([[[4, 1]]]), tokens([[[5, 1]]]))
  module = SMALL.module(VOCABULARY)
  rule = configs.members(Optimizer)[name]().transform(
    lambda count: 0.1, abstract_weights(module, batch)
  )
  init = init_state(module, batch, rule, jax.random.key(1))

  def update(state):
    params, memory = state.params, state.opt_state
    for number in range(1, 4):
      gradient = jax.tree.map(lambda x, n=number: jnp.sin(n * 9 * x) + 0.1, params)
      change, memory = rule.update(gradient, memory, params)
      params = optax.apply_updates(params, change)
    return dataclasses.replace(state, params=params, opt_state=memory)

  one, many = meshes()
  with jax.set_mesh(many):
    start = create_state(init, abstract_state(init, many))
  ends, same = [], True
  for number, mesh in enumerate((one, many)):
    with jax.set_mesh(mesh):
      abstract = abstract_state(init, mesh)
      state = jax.device_put(start, shardings(abstract))
      state = jax.jit(update, compiler_options=QUICK)(state)
    ends.append((state.params, state.opt_state))
    with Checkpoints(Path(directory) / str(number)) as checkpoints:
      checkpoints.save(state, {})
      checkpoints.wait()
      again, _ = checkpoints.restore(abstract)
    same = same and tree.sha256(again) == tree.sha256(state)
  print(json.dumps([*difference(*ends), same]))


@pytest.mark.slow
@pytest.mark.parametrize("name", configs.members(Optimizer))
def test_every_optimizer_shards_and_is_kept(name, tmp_path):
  error, size, same = apart("updates", name, str(tmp_path))
  assert same, "a checkpoint gave back another state"
  assert error < 2e-5 * size
