"""One primitive makes every projection of every model."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from transformer.axes import Weight
from transformer.layers.int8 import Int8, einsum


def glorot(fan_in: int, fan_out: int, gain: float = 1.0):
  """Uniform on ±gain · sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010, eq. 16).

  Fans are arguments, because the shape does not show them once heads have an axis
  of their own.
  """
  limit = gain * (6.0 / (fan_in + fan_out)) ** 0.5

  def init(key, shape, dtype=jnp.float32):
    return jax.random.uniform(key, shape, dtype, -limit, limit)

  return init


def weight(
  mod: nn.Module,
  name: str,
  letters: str,
  shape: tuple[int, ...],
  init,
  *,
  inputs: str = "",
  stacked: str = "",
  hidden: bool | None = None,
  int8: bool = False,
):
  """A float32 parameter of `mod`, or its `Int8` form where it is stored in 8 bits.

  Args:
    mod: the module that owns the parameter.
    name: the parameter's name.
    letters: one for each axis.
    shape: of the parameter.
    init: an initialiser, `init(key, shape)`.
    inputs, stacked, hidden, int8: see `axes.Weight`; a weight with inputs is `hidden`
      unless it is said not to be.
  """
  if mod.has_variable("params", name):
    stored: Any = mod.get_variable("params", name)
    # `Module.param` would trace the initialiser to compare shapes.
    if isinstance(stored, Int8) or (
      isinstance(stored, jax.Array) and stored.shape == shape
    ):
      return stored
  if hidden is None:
    hidden = bool(inputs)

  def boxed(key, shape):
    return Weight(
      init(key, shape), tuple(letters), inputs=inputs, stacked=stacked, hidden=hidden,
      int8=int8,
    )  # fmt: skip

  return mod.param(name, boxed, shape)


def project(
  mod: nn.Module,
  name: str,
  spec: str,
  x,
  *,
  bias: bool = False,
  hidden: bool = True,
  gain: float = 1.0,
  **sizes,
):
  """Multiplies by a weight: `project(self, "q", "btd,dhk->bthk", x_btd, h=8, k=64)`.

  Args:
    mod: the module that owns the weight, inside its compact method.
    name: the weight's name; its bias, if any, is `name + "_bias"`.
    spec: an einsum of the input and the weight. The letters of the weight become its
      logical axes, and those that the input has too its inputs (`axes.Weight`).
    x: the input; the product is computed in its dtype.
    bias: adds a bias over the output's new axes.
    hidden: False for the first map of raw inputs and for the last one, to the logits.
    gain: a factor of the initial weight.
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
  summed = "".join(letter for letter in letters if letter in inputs)
  w = weight(
    mod, name, letters, shape, glorot(fan_in, fan_out, gain), inputs=summed,
    hidden=hidden, int8=True,
  )  # fmt: skip
  y = einsum(spec, x, w)
  if bias:
    new = "".join(letter for letter in outputs if letter not in inputs)
    shape = tuple(size[letter] for letter in new)
    b = weight(mod, name + "_bias", new, shape, nn.initializers.zeros)
    y = y + jnp.reshape(b, (1,) * (y.ndim - b.ndim) + b.shape).astype(y.dtype)
  return y
