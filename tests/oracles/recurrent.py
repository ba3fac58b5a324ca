"""RNNSeq2Seq cells and networks for one sequence, a token at a time; float64.

Elman 1990; Bahdanau et al. 2015, appendix A.1.1, for the gated unit of Cho et al. 2014;
Graves 2013, equations 7 to 11 without the peepholes, for the LSTM.

A layer's weights: w [d, g, f], u [f, g, f] and b [g, f], a block for each gate.
"""

import numpy as np


def sigmoid(x):
  """1 / (1 + exp(-x))."""
  return 1.0 / (1.0 + np.exp(-x))


def block(weights, gate, x, h):
  """W x + U h + b of one gate."""
  w, u, b = (weights[name] for name in "wub")
  return w[:, gate].T @ x + u[:, gate].T @ h + b[gate]


def elman(weights, x, state):
  """h' = tanh(W x + U h + b)."""
  return (np.tanh(block(weights, 0, x, state[0])),)


def gru(weights, x, state):
  """s_i = (1 - z) s_{i-1} + z s~, s~ = tanh(W x + U (r s_{i-1})); gates z, r, s~."""
  (h,) = state
  z = sigmoid(block(weights, 0, x, h))
  r = sigmoid(block(weights, 1, x, h))
  proposed = np.tanh(block(weights, 2, x, r * h))
  return ((1 - z) * h + z * proposed,)


def lstm(weights, x, state, forget):
  """Gates i, f, o and the proposed cell; `forget` is added inside f."""
  h, c = state
  i = sigmoid(block(weights, 0, x, h))
  f = sigmoid(block(weights, 1, x, h) + forget)
  o = sigmoid(block(weights, 2, x, h))
  c = f * c + i * np.tanh(block(weights, 3, x, h))
  return o * np.tanh(c), c


def run(cell, weights, xs, state):
  """The states after each of `xs`, in the order of `xs`."""
  found = []
  for x in xs:
    state = cell(weights, x, state)
    found.append(state)
  return found


def encoder_decoder(cell, parts, weights, source_ids, target_in_ids):
  """Logits `[t, v]` of Sutskever et al. 2014: the source is read from its end, and each
  decoder layer begins with the last state of the encoder layer of its number.

  Weights: source and target [v, d], encoder and decoder (lists of layers), output
  [d, v] and bias [v]. Embedded tokens are scaled by the root of the width.
  """
  source, target = weights["source"], weights["target"]
  root = np.sqrt(source.shape[1])
  xs = [source[i] * root for i in reversed(source_ids)]
  ys = [target[i] * root for i in target_in_ids]
  for encoder, decoder in zip(weights["encoder"], weights["decoder"], strict=True):
    zero = tuple(np.zeros(encoder["b"].shape[1]) for _ in range(parts))
    states = run(cell, encoder, xs, zero)
    xs = [state[0] for state in states]
    ys = [state[0] for state in run(cell, decoder, ys, states[-1])]
  return np.stack(ys) @ weights["output"] + weights["bias"]
