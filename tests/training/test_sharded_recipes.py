"""Every recipe on a mesh of 8 virtual devices: the numbers of one device."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


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


def mixtures():
  """Models that between them have every member of every family, one of each a time."""
  from tests.models.test_seq2seq import FAMILIES, SMALL
  from transformer import config as configs
  from transformer.models.seq2seq import Transformer

  kinds = configs.annotations(Transformer)
  families = {f: list(configs.members(kinds[f]).values()) for f in FAMILIES}
  for number in range(max(map(len, families.values()))):
    chosen = {f: kinds[number % len(kinds)]() for f, kinds in families.items()}
    yield dataclasses.replace(SMALL, layers=2, **chosen)


def meshes():
  import jax

  from transformer.training.mesh import Mesh

  return (
    Mesh(data=1).build(jax.devices()[:1]),
    Mesh(data=2, fsdp=2, tensor=2).build(),
  )


QUICK = {"xla_backend_optimization_level": 0}


def shardings(abstract):
  import jax

  return jax.tree.map(lambda leaf: leaf.sharding, abstract)


def differences(one, other):
  """The largest difference of two trees, and the largest number."""
  import jax
  import numpy as np

  flat = [np.concatenate([np.asarray(x).ravel() for x in jax.tree.leaves(tree)])
          for tree in (one, other)]  # fmt: skip
  return float(np.abs(flat[0] - flat[1]).max()), float(np.abs(flat[0]).max())


def updates_of_models():
  """For every mixture: its name, and how one update differs between the meshes."""
  import functools

  import jax
  import numpy as np

  from tests.models.test_seq2seq import example, tokens
  from transformer.batch import Pairs
  from transformer.tasks.translation import Translation
  from transformer.training.mesh import batch_sharding, put
  from transformer.training.optimizers import Sgd
  from transformer.training.state import abstract_state, create_state, init_state
  from transformer.training.step import train_step

  rng = np.random.default_rng(0)
  rows = [([example(rng, s)], [example(rng, t)]) for s, t in rng.integers(3, 9, (8, 2))]
  batch = Pairs(tokens([s for s, _ in rows], 9), tokens([t for _, t in rows], 10))
  rule = Sgd().transform(lambda count: 1.0)
  found = []
  for model in mixtures():
    module = dataclasses.replace(model, dropout=0.1).module(32)
    init = init_state(module, batch, rule, jax.random.key(1))
    loss = functools.partial(Translation().loss, module)
    one, many = meshes()
    with jax.set_mesh(many):
      start = create_state(init, abstract_state(init, many))
    moved = []
    for mesh in (one, many):
      with jax.set_mesh(mesh):
        state = jax.device_put(start, shardings(abstract_state(init, mesh)))
        step = jax.jit(
          functools.partial(train_step, loss, rule), compiler_options=QUICK
        )
        after, _ = step(state, put(batch, batch_sharding(mesh)), jax.random.key(2))
      moved.append(
        jax.tree.map(lambda a, b: np.asarray(a - b), state.weights, after.weights)
      )
    found.append([repr(model), *differences(*moved)])
  print(json.dumps(found))


@pytest.mark.slow
def test_an_update_of_every_model_recipe_is_that_of_one_device():
  found = apart("updates_of_models")
  assert len(found) >= 11
  for model, difference, size in found:
    assert size > 1e-3, model
    assert difference < 1e-4 * size, model


def updates_of_optimizers(directory):
  """For every optimizer: its name, how three updates by given gradients differ between
  the meshes, and whether a checkpoint gives the whole state back."""
  import jax
  import jax.numpy as jnp
  import numpy as np
  import optax

  from tests.models.test_seq2seq import SMALL, tokens
  from transformer import config as configs
  from transformer import tree
  from transformer.batch import Pairs
  from transformer.training.checkpoint import Checkpoints
  from transformer.training.optimizers import Optimizer
  from transformer.training.state import abstract_state, create_state, init_state

  batch = Pairs(tokens([[[4, 1]]]), tokens([[[5, 1]]]))
  found = []
  for name, member in configs.members(Optimizer).items():
    rule = member().transform(lambda count: 0.1)
    init = init_state(SMALL.module(32), batch, rule, jax.random.key(1))

    def update(state, rule=rule):
      params, memory = state.params, state.opt_state
      for number in range(1, 4):
        gradient = jax.tree.map(lambda x, n=number: jnp.sin(n * 9 * x) + 0.1, params)
        change, memory = rule.update(gradient, memory, params)
        params = optax.apply_updates(params, change)
      return state.replace(params=params, opt_state=memory)

    one, many = meshes()
    with jax.set_mesh(many):
      start = create_state(init, abstract_state(init, many))
    ends, same = [], True
    for number, mesh in enumerate((one, many)):
      with jax.set_mesh(mesh):
        abstract = abstract_state(init, mesh)
        state = jax.device_put(start, shardings(abstract))
        state = jax.jit(update, compiler_options=QUICK)(state)
      ends.append(jax.tree.map(np.asarray, (state.params, state.opt_state)))
      with Checkpoints(Path(directory) / f"{name}{number}") as checkpoints:
        checkpoints.save(state)
        checkpoints.wait()
        again = checkpoints.restore(abstract)
      same = same and tree.sha256(again) == tree.sha256(state)
    found.append([name, *differences(*ends), same])
  print(json.dumps(found))


@pytest.mark.slow
def test_every_optimizer_shards_and_is_kept(tmp_path):
  for name, difference, size, same in apart("updates_of_optimizers", str(tmp_path)):
    assert same, f"{name}: a checkpoint gave back another state"
    assert difference < 1e-4 * size, f"{name}: {difference} of {size}"
