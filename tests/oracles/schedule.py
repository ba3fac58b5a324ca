"""Learning rate of Vaswani et al. 2017, §5.3, and Adam (Kingma & Ba 2015)."""

import numpy as np


def learning_rate(step, d_model, warmup):
  """lrate = d_model^-0.5 min(step^-0.5, step warmup^-1.5), §5.3, equation 3.

  `step` counts from 1: the rate of the first update is `learning_rate(1, ...)`.
  """
  return d_model**-0.5 * min(step**-0.5, step * warmup**-1.5)


def adam_start(parameters):
  """(t, m, v) = (0, 0, 0), the initialisation of Algorithm 1 (Kingma & Ba 2015)."""
  zeros = {name: np.zeros_like(value) for name, value in parameters.items()}
  return 0, zeros, dict(zeros)


def adam(parameters, gradients, state, rate, beta1=0.9, beta2=0.98, epsilon=1e-9):
  """One pass of the loop of Algorithm 1: (parameters, state) after one update.

  `parameters` and `gradients` are dicts of arrays, `rate` is alpha of this update. The
  defaults are those of Vaswani et al. 2017, §5.3.
  """
  step, mean, square = state
  step = step + 1
  new, new_mean, new_square = {}, {}, {}
  for name, theta in parameters.items():
    g = gradients[name]
    m = beta1 * mean[name] + (1 - beta1) * g
    v = beta2 * square[name] + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**step)
    v_hat = v / (1 - beta2**step)
    new[name] = theta - rate * m_hat / (np.sqrt(v_hat) + epsilon)
    new_mean[name], new_square[name] = m, v
  return new, (step, new_mean, new_square)


def inverse_root(step, rate, warmup):
  """rate / sqrt(max(n, k)) (Raffel et al. 2020, §3.1.2)."""
  return rate / max(step, warmup) ** 0.5


def linear(step, rate, warmup, steps):
  """Up to `rate` at `warmup`, down to 0 at `steps` (Devlin et al. 2019, A.2)."""
  if step <= warmup:
    return rate * step / warmup
  return rate * max(steps - step, 0) / (steps - warmup)


def cosine(step, rate, warmup, steps):
  """Linearly up, then rate/2 (1 + cos(pi T_cur / T)) (Loshchilov & Hutter 2017, eq. 5
  with eta_min = 0)."""
  if step <= warmup:
    return rate * step / warmup
  done = min(step - warmup, steps - warmup) / (steps - warmup)
  return rate * 0.5 * (1 + np.cos(np.pi * done))
