"""Image models in plain NumPy, in float64, one image at a time.

Patches from Dosovitskiy et al. 2021, §3.1 (equation 1); the residual block from He et
al. 2016, §3.2, with the batch norm of running averages (Ioffe & Szegedy 2015,
Algorithm 2, step 11).
"""

import numpy as np


def patch_tokens(image_yxc, size, w, b, token, places):
  """z_0 = [x_class; x_p^1 E; x_p^2 E; …] + E_pos, `[1 + patches, d]`.

  `w` is E, `[size * size * c, d]`, with the bias `b`; patches go from left to right and
  from top to bottom, and so do the pixels of each.
  """
  rows, columns, _ = image_yxc.shape
  found = [token]
  for top in range(0, rows, size):
    for left in range(0, columns, size):
      pixels = [image_yxc[top + y, left + x] for y in range(size) for x in range(size)]
      found.append(np.concatenate(pixels) @ w + b)
  return np.stack(found) + places[: len(found)]


def convolve(image_yxd, w_yxdf, stride):
  """A convolution with zeros around the image, a place at a time."""
  rows, columns, _ = image_yxd.shape
  n = w_yxdf.shape[0]
  found = []
  for top in range(0, rows, stride):
    line = []
    for left in range(0, columns, stride):
      total = np.zeros(w_yxdf.shape[-1])
      for i in range(n):
        for j in range(n):
          y, x = top + i - n // 2, left + j - n // 2
          if 0 <= y < rows and 0 <= x < columns:
            total += image_yxd[y, x] @ w_yxdf[i, j]
      line.append(total)
    found.append(line)
  return np.array(found)


def unit(layer, image_yxd, stride, epsilon):
  """A convolution, then (x - E) / sqrt(Var + epsilon) times a scale, and a bias."""
  y = convolve(image_yxd, layer["w"], stride)
  y = (y - layer["mean"]) / np.sqrt(layer["variance"] + epsilon)
  return y * layer["scale"] + layer["bias"]


def residual_block(layers, image_yxd, stride, epsilon):
  """y = sigma(F(x) + x), or F(x) + W_s x where there is a shortcut (equations 1, 2);
  F is the units `first`, `second` and, of a bottleneck, `third`, with rectifiers
  between them."""
  y = unit(layers["first"], image_yxd, stride, epsilon)
  for name in ("second", "third"):
    if name in layers:
      y = unit(layers[name], np.maximum(y, 0), 1, epsilon)
  if "shortcut" in layers:
    image_yxd = unit(layers["shortcut"], image_yxd, stride, epsilon)
  return np.maximum(y + image_yxd, 0)


def max_pool(image_yxd, size, stride):
  """Max pooling; beyond the border there is nothing."""
  rows, columns, _ = image_yxd.shape
  found = []
  for top in range(0, rows, stride):
    line = []
    for left in range(0, columns, stride):
      y, x = max(top - size // 2, 0), max(left - size // 2, 0)
      part = image_yxd[y : top - size // 2 + size, x : left - size // 2 + size]
      line.append(part.max(axis=(0, 1)))
    found.append(line)
  return np.array(found)
