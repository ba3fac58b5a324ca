"""Batch statistics: beside the parameters in the state, never differentiated, kept."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.models.test_transformer import SMALL, V, example, tokens
from transformer import tree
from transformer.batch import Pairs
from transformer.layers.norms import BatchNorm
from transformer.layers.residual import PreNorm
from transformer.tasks.translation import Translation
from transformer.training.checkpoint import Checkpoints
from transformer.training.mesh import Mesh
from transformer.training.optimizers import AdamW
from transformer.training.state import abstract_state, create_state, init_state
from transformer.training.step import train_step


def test_merge_and_divide_are_inverse():
  rest = {"a": {"x": 1, "b": {"y": 2}}, "c": 3}
  other = {"a": {"b": {"z": 4}}}
  whole = tree.merge(rest, other)
  assert whole == {"a": {"x": 1, "b": {"y": 2, "z": 4}}, "c": 3}
  assert tree.divide(whole, other) == (rest, other)
  assert tree.merge(rest, {}) == rest and tree.divide(rest, {}) == (rest, {})


@pytest.fixture(scope="module")
def trained():
  """Module, abstract state, and the states before and after two updates."""
  module = dataclasses.replace(
    SMALL, norm=BatchNorm(), residual=PreNorm(), layers=2
  ).module(V)
  rng = np.random.default_rng(0)
  batch = Pairs(
    tokens([[example(rng, 7)], [example(rng, 4)]]),
    tokens([[example(rng, 5)], [example(rng, 3)]]),
  )
  rule = AdamW(decay=0.1).transform(lambda count: 0.01)
  init = init_state(module, batch, rule, jax.random.key(1))
  abstract = abstract_state(init, Mesh(data=1).build(jax.devices()[:1]))
  loss = functools.partial(Translation().loss, module)
  step = jax.jit(functools.partial(train_step, loss, rule))
  states = [create_state(init, abstract)]
  for _ in range(2):
    state, numbers = step(states[-1], batch, jax.random.key(2))
    assert np.isfinite(numbers.gradient_norm)
    states.append(state)
  return module, batch, abstract, states


def test_they_are_no_parameters_and_move_with_the_batches(trained):
  _, _, _, (before, after, later) = trained
  names = {path.rpartition("/")[2] for path in tree.paths(before.batch_stats)}
  assert names == {"mean", "variance"}
  assert not any(
    path.endswith(("/mean", "/variance")) for path in tree.paths(before.params)
  )
  assert jax.tree.structure(before) == jax.tree.structure(later)
  for path, leaf in tree.paths(before.batch_stats).items():
    start = 0.0 if path.endswith("mean") else 1.0
    assert np.all(leaf == start) and leaf.shape[-1] == 16, path
    assert np.abs(tree.paths(after.batch_stats)[path] - leaf).max() > 1e-4, path
    now, then = (tree.paths(s.batch_stats)[path] for s in (after, later))
    assert np.abs(now - then).max() > 1e-4, path
  # Not in the optimizer's state either.
  kept = optax.tree.get(later.opt_state, "mu")
  assert jax.tree.structure(kept) == jax.tree.structure(later.params)


def test_padding_does_not_count(trained):
  module, batch, _, (state, *_) = trained

  def batch_stats(batch):
    return module.apply(
      {"params": state.eval_params}, batch, train=True, mutable=["batch_stats"],
      rngs={"dropout": jax.random.key(0)},
    )[1]  # fmt: skip

  def wider(leaf):
    return jnp.pad(leaf, ((0, 3), (0, 2)))

  one, other = batch_stats(batch), batch_stats(jax.tree.map(wider, batch))
  for path, leaf in tree.paths(one).items():
    np.testing.assert_allclose(leaf, tree.paths(other)[path], atol=1e-5, err_msg=path)


def test_a_checkpoint_keeps_them_and_a_run_is_used_with_them(trained, tmp_path):
  module, batch, abstract, (*_, state) = trained
  with Checkpoints(tmp_path / "kept") as checkpoints:
    checkpoints.save(state, {})
    checkpoints.wait()
    again, _ = checkpoints.restore(abstract)
    weights = checkpoints.restore_params(abstract.eval_params).params
  assert tree.sha256(again) == tree.sha256(state)
  assert tree.sha256(weights) == tree.sha256(state.eval_params)
  used = module.apply({"params": weights}, batch)
  larger = jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf[::-1]]), batch)
  np.testing.assert_allclose(
    module.apply({"params": weights}, larger)[:2], used, atol=1e-5
  )
  start = state.replace(batch_stats=trained[3][0].batch_stats)
  other = module.apply({"params": start.eval_params}, batch)
  assert np.abs(other - used).max() > 1e-3
