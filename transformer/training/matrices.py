"""Weights as the matrices they are, for rules that look at a parameter as one or as a
whole.

The layers of a stack lie in one leaf, `[l, …]`, and heads have axes of their own. Which
axes are which follows from the parameter's path, so that depth and heads change nothing
of what a rule does to a weight.
"""

import math
from collections.abc import Callable

import jax
import optax
from flax import linen as nn
from optax import contrib

from transformer.tree import merge

STACK = "layers"
"""In a path: the axis in front is that of the layers."""

INPUTS = {"q": 1, "k": 1, "v": 1, "o": 2, "w1": 1, "w2": 1, "relative": 1}
"""How many axes of a layer's weight, by its name, are inputs; the rest are outputs."""


def names(path) -> list[str]:
  """The names along a path of a tree of parameters, boxed or not."""
  return [key.key for key in path if isinstance(key, jax.tree_util.DictKey)]


def is_matrix(found: list[str]) -> bool:
  """Whether a parameter, by its names, is a weight of a layer that maps vectors to
  vectors."""
  return STACK in found and found[-1] in INPUTS


def apart(
  rule: optax.GradientTransformation,
  other: optax.GradientTransformation,
  chosen: Callable[[list[str]], bool] = is_matrix,
) -> optax.GradientTransformation:
  """`rule` for the parameters that `chosen` names, the weights of layers, and `other`
  for all else, each on a tree that has nothing but its own."""

  def split(params, above=()):
    own, rest = {}, {}
    for name, part in params.items():
      found = [*above, name]
      if isinstance(part, dict):
        own[name], rest[name] = split(part, found)
      else:
        (own if chosen(found) else rest)[name] = part
    return own, rest

  def init(params):
    own, rest = split(params)
    return rule.init(own), other.init(rest)

  def update(updates, state, params):
    trees = zip((rule, other), split(updates), state, split(params), strict=True)
    (own, rest), states = zip(*(r.update(*given) for r, *given in trees), strict=True)
    return merge(own, rest), states

  return optax.GradientTransformation(init, update)


def dimensions(params):
  """The input and output axes of weights of layers."""

  def of(path, leaf):
    middle = 1 + INPUTS[names(path)[-1]]
    inputs, outputs = range(1, middle), range(middle, leaf.ndim)
    return contrib.MuonDimensionNumbers(tuple(inputs), tuple(outputs))

  return jax.tree_util.tree_map_with_path(of, params)


def widen(updates, _):
  """Updates of weights of layers times 0.2 · sqrt(max(inputs, outputs))."""

  def of(leaf, axes):
    sides = (math.prod(leaf.shape[axis] for axis in side) for side in axes)
    return leaf * (0.2 * max(sides) ** 0.5)

  return jax.tree.map(of, updates, dimensions(updates))


def each_alone(rule: optax.GradientTransformation) -> optax.GradientTransformation:
  """`rule` for each weight of each layer by itself, as a matrix `[inputs, outputs]`;
  other parameters keep their shape."""

  def shape(path, leaf):
    layers = leaf.shape[:1] if STACK in names(path) else (1,)
    own = leaf.shape[1:] if STACK in names(path) else leaf.shape
    if is_matrix(names(path)):
      middle = INPUTS[names(path)[-1]]
      own = math.prod(own[:middle]), math.prod(own[middle:])
    return layers + own

  def fold(path, leaf):
    return leaf.reshape(shape(path, leaf))

  def init(params):
    return jax.tree_util.tree_map_with_path(
      lambda path, leaf: jax.vmap(rule.init)(fold(path, leaf)), nn.unbox(params)
    )

  def update(updates, state, params):
    def one(path, leaf, state, param):
      new, state = jax.vmap(rule.update)(fold(path, leaf), state, fold(path, param))
      return new.reshape(leaf.shape), state

    both = jax.tree_util.tree_map_with_path(one, updates, state, params)

    def part(index):
      return jax.tree.map(
        lambda pair: pair[index], both, is_leaf=lambda x: isinstance(x, tuple)
      )

    return part(0), part(1)

  return optax.GradientTransformation(init, update)
