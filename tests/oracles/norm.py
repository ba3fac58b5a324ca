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


def batch_norm(x_nd, scale, bias, epsilon):
  """g (x - mu_B) / sqrt(sigma_B^2 + epsilon) + b (Ioffe & Szegedy 2015, Algorithm 1).

  mu_B and sigma_B^2 are the mean and the biased variance of each channel over the rows,
  the tokens of a batch.
  """
  mu_d = x_nd.sum(axis=0) / len(x_nd)
  variance_d = ((x_nd - mu_d) ** 2).sum(axis=0) / len(x_nd)
  return scale * (x_nd - mu_d) / np.sqrt(variance_d + epsilon) + bias


def batch_averages(batches, momentum):
  """Running mean and unbiased variance (Algorithm 2, step 10, as moving averages that
  start at 0 and 1) after batches of rows `[n, d]`."""
  mean, variance = 0.0, 1.0
  for x_nd in batches:
    n = len(x_nd)
    mu_d = x_nd.sum(axis=0) / n
    fair_d = ((x_nd - mu_d) ** 2).sum(axis=0) / (n - 1)
    mean = momentum * mean + (1 - momentum) * mu_d
    variance = momentum * variance + (1 - momentum) * fair_d
  return mean, variance
