"""Update rules for one parameter, written from their papers.

`run(rule, theta, gradients, rates)` goes through the gradients; a rule is a function of
(theta, gradient, memory, step from 1) that returns the direction and the new memory.
"""

import numpy as np


def run(rule, theta, gradients, rates, decay=0.0):
  """theta after theta -= rate (direction + decay theta) for every gradient."""
  memory = None
  for step, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
    direction, memory = rule(theta, gradient, memory, step)
    theta = theta - rate * (direction + decay * theta)
  return theta


def adam(beta1, beta2, epsilon):
  """Kingma & Ba 2015, Algorithm 1; with decay outside, Loshchilov & Hutter 2019,
  Algorithm 2."""

  def rule(theta, g, memory, step):
    m, v = (np.zeros_like(g), np.zeros_like(g)) if memory is None else memory
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
    m_hat, v_hat = m / (1 - beta1**step), v / (1 - beta2**step)
    return m_hat / (np.sqrt(v_hat) + epsilon), (m, v)

  return rule


def lion(beta1, beta2):
  """Chen et al. 2023, Algorithm 2."""

  def rule(theta, g, memory, step):
    m = np.zeros_like(g) if memory is None else memory
    return np.sign(beta1 * m + (1 - beta1) * g), beta2 * m + (1 - beta2) * g

  return rule


def adafactor(power, clip, factored):
  """Shazeer & Stern 2018, Algorithm 4 (matrices) or 5 (vectors) with relative steps.

  beta2_t = 1 - t^-power, epsilon_1 = 1e-30, epsilon_2 = 1e-3.
  """

  def rms(x):
    return np.sqrt(np.mean(x**2))

  def rule(theta, g, memory, step):
    beta2, square = 1 - step**-power, g**2 + 1e-30
    if factored:
      r, c = memory or (np.zeros(g.shape[0]), np.zeros(g.shape[1]))
      r = beta2 * r + (1 - beta2) * square.sum(axis=1)
      c = beta2 * c + (1 - beta2) * square.sum(axis=0)
      memory, v = (r, c), np.outer(r, c) / r.sum()
    else:
      v = beta2 * (0.0 if memory is None else memory) + (1 - beta2) * square
      memory = v
    u = g / np.sqrt(v)
    return max(1e-3, rms(theta)) * u / max(1.0, rms(u) / clip), memory

  return rule


def muon(beta):
  """Jordan et al. 2024: Nesterov momentum through five Newton-Schulz steps, with the
  scale of Liu et al. 2025, §2.2.

  Means are divided by their weight so far, as Adam's are; Nesterov's looks one step
  ahead.
  """

  def orthogonal(g):
    x = g / np.linalg.norm(g)
    for _ in range(5):
      a = x @ x.T
      x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x

  def rule(theta, g, memory, step):
    m = beta * (0.0 if memory is None else memory) + (1 - beta) * g
    ahead = beta * m / (1 - beta ** (step + 1)) + (1 - beta) * g / (1 - beta**step)
    return 0.2 * np.sqrt(max(g.shape)) * orthogonal(ahead), m

  return rule
