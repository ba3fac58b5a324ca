"""Position-wise networks on one token `[d]`, without dropout."""

import math

import numpy as np


def relu_network(x_d, w1, b1, w2, b2):
  """max(0, x W_1 + b_1) W_2 + b_2 (Vaswani et al. 2017, §3.3, equation 2)."""
  return np.maximum(0, x_d @ w1 + b1) @ w2 + b2


def gelu_network(x_d, w1, b1, w2, b2):
  """The same with GELU(x) = x Φ(x) = x/2 (1 + erf(x / sqrt 2)) (Hendrycks & Gimpel
  2016, §2)."""
  hidden_f = np.array([x / 2 * (1 + math.erf(x / 2**0.5)) for x in x_d @ w1 + b1])
  return hidden_f @ w2 + b2


def gelu_tanh_network(x_d, w1, b1, w2, b2):
  """The same with 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) (§2 there)."""
  hidden_f = np.array([gelu_tanh(x) for x in x_d @ w1 + b1])
  return hidden_f @ w2 + b2


def relu_network_without_biases(x_d, w1, w2):
  """max(0, x W_1) W_2 (Shazeer 2020, equation 2, after T5)."""
  return np.maximum(0, x_d @ w1) @ w2


def glu_network(x_d, w, v, w2):
  """(sigmoid(x W) ⊗ x V) W_2 (Shazeer 2020, equations 4 and 6)."""
  return (1 / (1 + np.exp(-(x_d @ w))) * (x_d @ v)) @ w2


def geglu_network(x_d, w, v, w2):
  """(GELU(x W) ⊗ x V) W_2 (Shazeer 2020, equation 6)."""
  gate_f = np.array([x / 2 * (1 + math.erf(x / 2**0.5)) for x in x_d @ w])
  return (gate_f * (x_d @ v)) @ w2


def geglu_tanh_network(x_d, w, v, w2):
  """The same with the GELU of tanh."""
  return (np.array([gelu_tanh(x) for x in x_d @ w]) * (x_d @ v)) @ w2


def gelu_tanh(x):
  """The approximation of Hendrycks & Gimpel 2016, §2."""
  return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def silu_network(x_d, w1, b1, w2, b2):
  """The same with Swish_1(x) = x sigmoid(x) (Ramachandran et al. 2017)."""
  hidden_f = np.array([x / (1 + math.exp(-x)) for x in x_d @ w1 + b1])
  return hidden_f @ w2 + b2


def swiglu_network(x_d, w, v, w2):
  """(Swish_1(x W) ⊗ x V) W_2, Swish_1(x) = x sigmoid(x) (Shazeer 2020, equation 6)."""
  gate_f = np.array([x / (1 + math.exp(-x)) for x in x_d @ w])
  return (gate_f * (x_d @ v)) @ w2
