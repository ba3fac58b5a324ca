"""Sinusoidal positional encoding of Vaswani et al. 2017, §3.5."""

import numpy as np


def sinusoid(position, d_model):
  """The encoding of one position, `[d]`, sines and cosines interleaved (§3.5).

  PE(pos, 2i) = sin(pos / 10000^(2i / d_model)),
  PE(pos, 2i + 1) = cos(pos / 10000^(2i / d_model)).
  """
  encoding_d = np.zeros(d_model)
  for dimension in range(d_model):
    two_i = dimension - dimension % 2
    angle = position / 10000.0 ** (two_i / d_model)
    encoding_d[dimension] = np.sin(angle) if dimension == two_i else np.cos(angle)
  return encoding_d


def sinusoids(positions, d_model):
  """`sinusoid` of each position of a sequence; `[t, d]`."""
  return np.stack([sinusoid(position, d_model) for position in positions])
