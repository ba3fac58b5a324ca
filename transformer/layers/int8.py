"""Weights in 8 bits, for decoding: a quarter of the memory to read at every token.

Each output channel of a weight has a scale of its own. The input of a product is
rounded to 8 bits too, each token by a scale of its own and at the time of the product,
so that the product is one of whole numbers, exact, and a token's result does not depend
on its company (Dettmers et al. 2022, §3.1).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

MOST = 127
"""The largest magnitude of a value; -128 is not used, so that both signs are alike."""

SUMMED = {"dhk": "d", "hkd": "hk", "df": "d", "fd": "f", "vd": "d"}
"""The axes of each kind of weight over which its products sum."""

ROWS = 4
"""A product with a single row is computed with so many: XLA has no fast path for a
matrix of int8 times a vector on a CPU, and one for matrices."""


class Int8(NamedTuple):
  """A weight in place of a float32 array.

  The axes over which products sum come first, where XLA multiplies fastest: an
  embedding `[v, d]` becomes `[d, v]`, all others lie so by themselves.
  """

  values: Any  # int8
  scale: Any  # float32, of size 1 in the axes that products sum over


def quantise(params, axes):
  """Parameters with every known kind of matrix as `Int8`.

  Args:
    params: a tree of float32 arrays.
    axes: the same tree of `PartitionSpec`s that have the letters of their axes; a
      first `l` stands for stacked layers. What `SUMMED` does not name stays.
  """

  def convert(array, spec):
    letters = "".join(letter or "?" for letter in spec)
    summed = SUMMED.get(letters.removeprefix("l"))
    if summed is None:
      return array
    first = letters[: letters.startswith("l")] + summed
    order = first + "".join(letter for letter in letters if letter not in first)
    array = jnp.transpose(array, [letters.index(letter) for letter in order])
    return Int8(*rounded(array, tuple(order.index(letter) for letter in summed)))

  return jax.tree.map(convert, params, axes)


def rounded(array, axes: tuple[int, ...]):
  """int8 values, and the float32 scale that gives the array back, one for all that
  lies along `axes`."""
  array = array.astype(jnp.float32)
  most = jnp.max(jnp.abs(array), axis=axes, keepdims=True)
  scale = jnp.where(most > 0, most, 1.0) / MOST
  return jnp.round(array / scale).astype(jnp.int8), scale


def einsum(spec: str, x, w):
  """`jnp.einsum` of an array and a weight, in the dtype of `x`; the weight may be
  `Int8`."""
  if not isinstance(w, Int8):
    return jnp.einsum(spec, x, w.astype(x.dtype))
  inputs, rest = spec.split(",")
  letters, outputs = rest.split("->")
  summed = [letter for letter in inputs if letter not in outputs]
  values, scale = rounded(x, tuple(inputs.index(letter) for letter in summed))
  one = all(n == 1 for n, c in zip(x.shape, inputs, strict=True) if c not in summed)
  if one:
    values = jnp.broadcast_to(values, (ROWS, *values.shape[1:]))
  y = jnp.einsum(spec, values, w.values, preferred_element_type=jnp.int32)
  y = y[:1] if one else y

  def along(array, names: str):
    """The scale with the axes of the output; those summed over are of size 1."""
    size = dict(zip(names, array.shape, strict=True))
    order = [letter for letter in names if letter in outputs]
    assert order == [letter for letter in outputs if letter in size]
    return array.reshape([size.get(letter, 1) for letter in outputs])

  y = y.astype(jnp.float32) * along(scale, inputs) * along(w.scale, letters)
  return y.astype(x.dtype)
