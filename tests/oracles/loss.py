"""Label-smoothed cross-entropy: Vaswani et al. 2017, §5.4; Szegedy et al. 2016, §7."""

import numpy as np


def log_softmax(x):
  """x_i - log sum_j exp(x_j) over the last axis."""
  x = x - x.max(axis=-1, keepdims=True)
  return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def smoothed(target, vocabulary, smoothing):
  """q'(v) = (1 - eps) delta(v, target) + eps / vocabulary (Szegedy et al. 2016, §7).

  The uniform part covers the whole vocabulary, target included; `[v]`.
  """
  q_v = np.full(vocabulary, smoothing / vocabulary)
  q_v[target] += 1 - smoothing
  return q_v


def cross_entropy(logits_tv, target_t, weight_t, smoothing=0.0):
  """(sum, count): sum_t w_t H(q'_t, softmax(logits_t)) in nats, and sum_t w_t.

  H(q, p) = -sum_v q(v) log p(v). Weight 1 is a real token, 0 is padding; the mean is
  sum / count.
  """
  total = 0.0
  vocabulary = logits_tv.shape[-1]
  for logits_v, target, weight in zip(logits_tv, target_t, weight_t, strict=True):
    q_v = smoothed(target, vocabulary, smoothing)
    total += weight * -np.sum(q_v * log_softmax(logits_v))
  return float(total), float(np.sum(weight_t))


def floor(vocabulary, smoothing):
  """The least `cross_entropy` can be for one token: the entropy of q', in nats."""
  q_v = smoothed(0, vocabulary, smoothing)
  return float(-np.sum(q_v[q_v > 0] * np.log(q_v[q_v > 0])))
