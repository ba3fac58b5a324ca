"""Loss, schedules, optimizers, meshes and averages against references."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.oracles import loss as loss_oracle
from tests.oracles import schedule as schedule_oracle
from transformer import tree
from transformer.training.losses import Mean, cross_entropy
from transformer.training.mesh import Mesh
from transformer.training.optimizers import SGD, Adam
from transformer.training.schedules import Cosine, Noam, Schedule
from transformer.training.state import TrainState
from transformer.training.step import train_step


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
def test_loss_is_the_oracles(smoothing):
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(2, 5, 11)).astype(np.float32) * 3
  target = rng.integers(11, size=(2, 5))
  weight = rng.random((2, 5)) < 0.7
  found = cross_entropy(logits, target, weight, smoothing)
  total, count = 0.0, 0.0
  for row in range(2):
    a, b = loss_oracle.cross_entropy(logits[row], target[row], weight[row], smoothing)
    total, count = total + a, count + b
  np.testing.assert_allclose(found.total, total, rtol=1e-6)
  assert found.count == count == weight.sum()


def test_means_add_as_sums_and_counts():
  both = Mean(jnp.float32(6.0), jnp.float32(2.0)) + Mean(
    jnp.float32(1.0), jnp.float32(5)
  )
  assert float(both.value) == 1.0


def test_noam_is_the_papers():
  for step in (1, 7, 3999, 4000, 4001, 100_000):
    found = float(Noam()(step, 512, 100))
    expected = schedule_oracle.learning_rate(step, 512, 4000)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_every_schedule_is_positive_finite_and_traceable():
  for kind in (Schedule, Noam, Cosine):
    rates = jax.jit(jax.vmap(lambda step, s=kind(): s(step, 64, 2001)))(
      jnp.arange(1, 2000)
    )
    assert np.all(np.isfinite(rates)) and np.all(rates > 0)
  assert float(Cosine(rate=0.3, warmup=10, steps=100)(5, 64, 9)) == pytest.approx(0.15)
  assert float(Cosine(rate=0.3, warmup=10, steps=100)(10, 64, 9)) == pytest.approx(0.3)
  assert float(Cosine(rate=0.3, warmup=10, steps=100)(100, 64, 9)) == pytest.approx(0.0)


def test_adam_is_the_papers_algorithm():
  rng = np.random.default_rng(1)
  start = {"a": rng.normal(size=(3, 4)), "b": rng.normal(size=5)}
  rule = Adam().transform(lambda count: Noam(warmup=3)(count + 1, 16, 9))
  params = jax.tree.map(jnp.float32, start)
  state, reference, moments = (
    rule.init(params),
    start,
    schedule_oracle.adam_start(start),
  )
  for step in range(1, 6):
    gradients = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), start)
    updates, state = rule.update(jax.tree.map(jnp.float32, gradients), state, params)
    params = optax.apply_updates(params, updates)
    rate = schedule_oracle.learning_rate(step, 16, 3)
    reference, moments = schedule_oracle.adam(reference, gradients, moments, rate)
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, atol=2e-5), params, reference
  )


def test_each_step_draws_its_own_numbers_and_draws_them_again():
  rule = SGD().transform(lambda count: 0.1)
  params = {"x": jnp.ones(3)}

  def loss(params, batch, key):
    drawn = jax.random.uniform(key, (3,))
    return Mean(jnp.sum(params["x"] * drawn), jnp.float32(3.0)), {}

  def numbers(step):
    state = TrainState.start(params, rule).replace(step=jnp.int32(step))
    state, found = train_step(loss, rule, state, None, jax.random.key(5))
    assert int(state.step) == step + 1
    return float(found.loss.value), state.params["x"].tolist()

  assert numbers(0) == numbers(0)
  assert numbers(0) != numbers(1)


def guarded(losses, ema=0.0):
  """The states of steps whose losses are given, and their numbers."""
  rule = Adam().transform(lambda count: 0.1)
  params = {"x": jnp.ones(3)}
  average = {"x": jnp.zeros(3)} if ema else None
  state = TrainState.start(params, rule).replace(ema=average)

  def loss(params, batch, key):
    return Mean(jnp.sum(params["x"]) * batch, jnp.float32(2.0)), {}

  found = [(state, None)]
  for value in losses:
    state, numbers = train_step(
      loss, rule, state, jnp.float32(value), jax.random.key(0), ema
    )
    found.append((state, numbers))
  return found


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_step_without_a_finite_loss_makes_no_update_and_is_counted(bad):
  found = guarded([1.0, bad, bad, 2.0, bad], ema=0.5)
  assert [int(n.skipped) for _, n in found[1:]] == [0, 1, 2, 2, 3]
  assert [int(n.consecutive_skips) for _, n in found[1:]] == [0, 1, 2, 0, 1]
  states = [state for state, _ in found]
  assert [int(state.step) for state in states] == [0, 1, 2, 3, 4, 5]
  kept = [tree.sha256((s.params, s.opt_state, s.ema)) for s in states]
  assert kept[1] == kept[2] == kept[3] and kept[4] == kept[5]
  assert len(set(kept)) == 3
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(states[-1]))


def test_a_finite_loss_with_an_infinite_gradient_is_skipped_too():
  rule = SGD().transform(lambda count: 0.1)
  params = {"x": jnp.zeros(3)}
  state = TrainState.start(params, rule)

  def loss(params, batch, key):
    return Mean(jnp.sum(jnp.sqrt(params["x"])), jnp.float32(1.0)), {}

  after, numbers = train_step(loss, rule, state, None, jax.random.key(0))
  assert float(numbers.loss.total) == 0.0 and int(numbers.consecutive_skips) == 1
  assert np.all(np.asarray(after.params["x"]) == 0.0)


def test_the_moving_average_follows_its_formula():
  states = [state for state, _ in guarded([1.0] * 30, ema=0.5)]
  average = np.zeros(3)
  for number, state in enumerate(states[1:]):
    decay = min(0.5, (1 + number) / (10 + number))
    average = decay * average + (1 - decay) * np.asarray(state.params["x"], np.float64)
    np.testing.assert_allclose(state.ema["x"], average, rtol=1e-5)
  assert states[-1].eval_params == states[-1].ema
  plain = guarded([1.0])[-1][0]
  assert plain.ema is None and plain.eval_params == plain.params


def test_average_is_the_mean():
  rng = np.random.default_rng(2)
  trees = [{"x": rng.normal(size=(3, 2)).astype(np.float32)} for _ in range(4)]
  found = tree.average(trees)["x"]
  assert found.dtype == np.float32
  np.testing.assert_allclose(found, np.mean([t["x"] for t in trees], axis=0), rtol=1e-6)


@pytest.mark.parametrize(
  "mesh, sizes",
  [
    (Mesh(), (8, 1, 1, 1)),
    (Mesh(fsdp=4, tensor=2), (1, 4, 2, 1)),
    (Mesh(data=2, fsdp=-1), (2, 4, 1, 1)),
  ],
)
def test_one_size_takes_what_is_left(mesh, sizes):
  built = mesh.build([jax.devices()[0]] * 8)
  assert tuple(built.shape.values()) == sizes


@pytest.mark.parametrize(
  "mesh", [Mesh(data=3), Mesh(fsdp=3), Mesh(data=0), Mesh(-1, -1)]
)
def test_a_mesh_that_does_not_fit_is_refused(mesh):
  with pytest.raises(ValueError, match="mesh: "):
    mesh.build([jax.devices()[0]] * 8)
