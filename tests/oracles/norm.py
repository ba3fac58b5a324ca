"""Normalisation over the last axis."""

import numpy as np


def layer_norm(x, scale, bias, epsilon):
  """g / sigma (x - mu) + b (Ba et al. 2016, equation 4); `scale` is g, `bias` is b.

  mu and sigma^2 are the mean and the (biased) variance over the last axis (equation 3).
  `epsilon` is added to the variance, under the root: the paper has none, every
  implementation needs one.
  """
  mu = x.mean(axis=-1, keepdims=True)
  variance = ((x - mu) ** 2).mean(axis=-1, keepdims=True)
  return scale * (x - mu) / np.sqrt(variance + epsilon) + bias


def rms_norm(x, scale, epsilon):
  """g x / RMS(x), RMS(x) = sqrt(mean(x^2)) (Zhang & Sennrich 2019, equation 4).

  `epsilon` is added to the mean square, under the root.
  """
  return scale * x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + epsilon)
