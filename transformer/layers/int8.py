"""Weights in 8 bits, for decoding: a quarter of the memory to read at every token.

Each output channel of a weight has its own scale. The input of a product is rounded to
8 bits too, at the time of the product and with one scale for each token. The product is
then one of integers and exact, and the result for a token does not depend on the other
tokens of the batch (Dettmers et al. 2022, §3.1).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from transformer.axes import Weight

MOST = 127
"""The largest magnitude of a value; without -128 the range is symmetric."""

ROWS = 4
"""A product with a single row is computed with this many: on a CPU, XLA has a fast path
for int8 products of two matrices, and none for a matrix times a vector."""


class Int8(NamedTuple):
  """A weight in 8 bits, in place of its float32 array.

  The axes over which products sum come first, where XLA multiplies fastest: an
  embedding `[v, d]` becomes `[d, v]`; the other weights have that order already.
  """

  values: Any  # int8
  scale: Any  # float32, of size 1 in the axes that products sum over


def quantise(params, weights):
  """Parameters with every weight that may be stored in 8 bits as `Int8`.

  Args:
    params: a tree of float32 arrays.
    weights: the same tree of `axes.Weight`s.
  """

  def convert(array, weight: Weight):
    if not weight.int8:
      return array
    stacked, summed = weight.where(weight.stacked), weight.where(weight.inputs)
    rest = (i for i in range(array.ndim) if i not in (*stacked, *summed))
    array = jnp.transpose(array, (*stacked, *summed, *rest))
    first = len(stacked)
    return Int8(*rounded(array, tuple(range(first, first + len(summed)))))

  return jax.tree.map(convert, params, weights)


def rounded(array, axes: tuple[int, ...]):
  """int8 values, and the float32 scale to multiply them by, shared along `axes`."""
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
