"""Compatibility of one query and one key, each from its own paper."""

import numpy as np


def scaled_dot(q_k, k_k):
  """q·k / sqrt(d_k) (Vaswani et al. 2017, §3.2.1, equation 1)."""
  return sum(a * b for a, b in zip(q_k, k_k, strict=True)) / len(q_k) ** 0.5


def dot(q_k, k_k):
  """q·k (Luong et al. 2015, §3.1, "dot")."""
  return sum(a * b for a, b in zip(q_k, k_k, strict=True))


def additive(q_k, k_k, v_k):
  """v^T tanh(W s + U h), with q = W s and k = U h (Bahdanau et al. 2015, A.1.2)."""
  return sum(v * np.tanh(a + b) for v, a, b in zip(v_k, q_k, k_k, strict=True))


def general(q_k, k_k, w_kk):
  """q^T W k (Luong et al. 2015, §3.1, "general")."""
  size = len(q_k)
  return sum(q_k[i] * w_kk[i, j] * k_k[j] for i in range(size) for j in range(size))
