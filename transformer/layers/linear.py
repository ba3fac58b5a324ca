"""One primitive makes every projection of every model."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from transformer.layers.int8 import Int8, einsum


def glorot(fan_in: int, fan_out: int):
  """Uniform on ±sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010, eq. 16).

  Fans are given, not read off the shape, which says nothing once heads have an axis
  of their own.
  """
  limit = (6.0 / (fan_in + fan_out)) ** 0.5

  def init(key, shape, dtype=jnp.float32):
    return jax.random.uniform(key, shape, dtype, -limit, limit)

  return init


def weight(mod: nn.Module, name: str, letters: str, shape: tuple[int, ...], init):
  """A float32 parameter of `mod` whose axes are known by their letters, or what
  `int8.quantise` has made of it."""
  if mod.has_variable("params", name):
    stored: Any = mod.get_variable("params", name)
    if isinstance(stored, Int8):
      return stored
  return mod.param(name, nn.with_logical_partitioning(init, tuple(letters)), shape)


def project(mod: nn.Module, name: str, spec: str, x, *, bias: bool = False, **sizes):
  """Multiplies by a weight: `project(self, "q", "btd,dhk->bthk", x_btd, h=8, k=64)`.

  Args:
    mod: the module that owns the weight, inside its compact method.
    name: the weight's name; its bias, if any, is `name + "_bias"`.
    spec: an einsum of the input and the weight. The letters are the weight's logical
      axes for sharding.
    x: the input; the product is computed in its dtype.
    bias: adds a bias over the output's new axes.
    **sizes: the sizes of the letters that the input does not have.
  """
  inputs, rest = spec.split(",")
  letters, outputs = rest.split("->")
  size = dict(zip(inputs, x.shape, strict=True)) | sizes
  fan_in = fan_out = 1
  for letter in letters:
    if letter in inputs:
      fan_in *= size[letter]
    else:
      fan_out *= size[letter]
  shape = tuple(size[letter] for letter in letters)
  w = weight(mod, name, letters, shape, glorot(fan_in, fan_out))
  y = einsum(spec, x, w)
  if bias:
    new = "".join(letter for letter in outputs if letter not in inputs)
    shape = tuple(size[letter] for letter in new)
    b = weight(mod, name + "_bias", new, shape, nn.initializers.zeros)
    y = y + jnp.reshape(b, (1,) * (y.ndim - b.ndim) + b.shape).astype(y.dtype)
  return y
