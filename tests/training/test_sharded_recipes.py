"""Every recipe on a mesh of 8 virtual devices: the numbers of one device."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.models.mixtures import mixtures
from tests.models.test_transformer import SMALL, example, tokens, variables
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

VOCABULARY = 11 + 1  # divides over the mesh


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


def gradients(model):
  """How gradient and running averages of a model differ between the meshes."""
  rng = np.random.default_rng(0)
  rows = [([example(rng, s)], [example(rng, t)]) for s, t in rng.integers(3, 9, (8, 2))]
  batch = Pairs(tokens([s for s, _ in rows], 9), tokens([t for _, t in rows], 10))
  model = dataclasses.replace(model, dropout=0.1)
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
      run = jax.jit(jax.grad(loss, has_aux=True))
      found.append(run(placed, put(batch, batch_sharding(mesh))))
  return difference(*found)


@pytest.mark.slow
@pytest.mark.parametrize("model", mixtures(dataclasses.replace(SMALL, layers=2)))
def test_the_gradient_of_every_model_recipe_is_that_of_one_device(eight_devices, model):
  error, size = eight_devices(gradients, model)
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
      state = jax.jit(update)(state)
    ends.append((state.params, state.opt_state))
    with Checkpoints(directory / str(number)) as checkpoints:
      checkpoints.save(state, {})
      checkpoints.wait()
      again, _ = checkpoints.restore(abstract)
    same = same and tree.sha256(again) == tree.sha256(state)
  return *difference(*ends), same


@pytest.mark.slow
@pytest.mark.parametrize("name", configs.members(Optimizer))
def test_every_optimizer_shards_and_is_kept(eight_devices, name, tmp_path):
  error, size, same = eight_devices(updates, name, tmp_path)
  assert same, "a checkpoint gave back another state"
  assert error < 2e-5 * size
