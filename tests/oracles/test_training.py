"""The oracles of loss and schedules against Optax, SciPy and the paper's claims."""

import math

import jax
import numpy as np
import optax
import pytest
import scipy.special
import scipy.stats

from tests.oracles import loss, schedule

T, D, H, V = 5, 16, 4, 11


class TestLoss:
  def test_targets_are_optaxs(self):
    one_hot = np.eye(V)[4]
    np.testing.assert_allclose(
      loss.smoothed(4, V, 0.1), optax.smooth_labels(one_hot, 0.1), rtol=1e-6
    )
    assert loss.smoothed(4, V, 0.1)[4] == pytest.approx(0.9 + 0.1 / V)
    assert loss.smoothed(4, V, 0.1).sum() == pytest.approx(1)

  def test_by_hand(self):
    # p = (1/2, 1/4, 1/4); H = -log p = log 2 or log 4 per unit of target mass.
    logits_tv = np.log([[2.0, 1, 1], [2, 1, 1], [2, 1, 1]])
    total, count = loss.cross_entropy(logits_tv, [0, 2, 1], [1, 1, 0])
    assert (total, count) == (pytest.approx(np.log(8)), 2)
    total, count = loss.cross_entropy(logits_tv, [0, 2, 1], [1, 1, 0], smoothing=0.3)
    # q = (.8, .1, .1) and (.1, .1, .8): .8 + .4 and .1 + 1.8 times log 2.
    assert (total, count) == (pytest.approx(3.1 * np.log(2)), 2)

  def test_is_optaxs(self, rng, float64):
    logits_tv, target_t = 9 * rng.standard_normal((T, V)), rng.integers(0, V, T)
    weight_t = np.array([1, 0, 1, 1, 0.5])
    labels_tv = optax.smooth_labels(np.eye(V)[target_t], 0.1)
    theirs_t = optax.softmax_cross_entropy(logits_tv, labels_tv)
    total, count = loss.cross_entropy(logits_tv, target_t, weight_t, 0.1)
    assert total == pytest.approx(float(np.sum(weight_t * theirs_t)), rel=1e-9)
    assert count == 3.5

  def test_floor_is_reached_and_is_the_entropy(self):
    q_v = loss.smoothed(4, V, 0.1)
    total, _ = loss.cross_entropy(np.log(q_v)[None], [4], [1], 0.1)
    assert loss.floor(V, 0.1) == pytest.approx(scipy.stats.entropy(q_v))
    assert total == pytest.approx(loss.floor(V, 0.1))
    assert loss.floor(V, 0.0) == 0


class TestSchedule:
  def test_first_peak_and_decay(self):
    """§5.3: linear for the first `warmup` steps, then the inverse square root."""
    assert schedule.learning_rate(1, 512, 4000) == pytest.approx(1.7469e-7, rel=1e-4)
    rates = [schedule.learning_rate(step, 512, 4000) for step in range(1, 16001)]
    assert int(np.argmax(rates)) + 1 == 4000
    assert max(rates) == pytest.approx(1 / math.sqrt(512 * 4000))
    np.testing.assert_allclose(np.diff(rates[:4000]), rates[0])
    assert rates[15999] == pytest.approx(rates[3999] / 2)

  def test_first_update_of_adam_is_the_rate(self):
    """Kingma & Ba 2015, §2.1: |step| is about alpha; exactly so at t = 1."""
    start = {"a": np.array([3.0, -4.0, 5.0])}
    gradient = {"a": np.array([1e-3, -70.0, 2.0])}
    after, _ = schedule.adam(start, gradient, schedule.adam_start(start), 0.25)
    np.testing.assert_allclose(after["a"], [2.75, -3.75, 4.75], rtol=1e-6)

  def test_adam_is_optaxs(self, rng, float64):
    theta = {"a": rng.standard_normal((2, 3)), "b": rng.standard_normal(5)}
    theirs, state = dict(theta), schedule.adam_start(theta)
    optimizer = optax.adam(
      lambda count: schedule_of_optax(count + 1), b1=0.9, b2=0.98, eps=1e-9
    )
    their_state = optimizer.init(theirs)
    for step in range(1, 8):
      gradient = {name: rng.standard_normal(leaf.shape) for name, leaf in theta.items()}
      rate = schedule.learning_rate(step, D, 3)
      theta, state = schedule.adam(theta, gradient, state, rate)
      updates, their_state = optimizer.update(gradient, their_state)
      theirs = optax.apply_updates(theirs, updates)
    assert state[0] == 7
    for name in theta:
      np.testing.assert_allclose(theta[name], theirs[name], rtol=1e-6)


def schedule_of_optax(step):
  """§5.3 from Optax's parts, warm-up 3: linear up to the peak, then the root."""
  peak = 1 / math.sqrt(D * 3)
  rising = optax.linear_schedule(0, peak, 3)(step)
  return jax.numpy.where(step <= 3, rising, peak * jax.numpy.sqrt(3 / step))
