"""Update rules that treat a parameter as a matrix, or look at all of its numbers.

The layers of a stack are one leaf, `[l, …]`, and heads have axes of their own. Which
axes of a weight are its inputs and which are stacked is recorded in its `axes.Weight`,
so that neither depth nor heads change what a rule does to a weight. `weights` is the
tree of these boxes, from `state.abstract_weights`.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
from etils import epy
from flax import linen as nn

from transformer.axes import Weight
from transformer.tree import merge

with epy.lazy_imports():  # as in `optimizers`
  import optax
  from optax import contrib


def names(path) -> tuple[str, ...]:
  """The names along a path of a tree of parameters, boxed or not."""
  return tuple(key.key for key in path if isinstance(key, jax.tree_util.DictKey))


def weight_at(weights: Any, path: tuple[str, ...]) -> Weight:
  """The box of the parameter with these names."""
  for name in path:
    weights = weights[name]
  return weights


def partition(
  rule: "optax.GradientTransformation",
  other: "optax.GradientTransformation",
  selects: Callable[[tuple[str, ...]], bool],
) -> "optax.GradientTransformation":
  """`rule` for the parameters whose names `selects` accepts, and `other` for the rest;
  each sees a tree of its own parameters alone."""

  def split(params, above=()):
    selected, rest = {}, {}
    for name, part in params.items():
      path = (*above, name)
      if isinstance(part, dict):
        selected[name], rest[name] = split(part, path)
      else:
        (selected if selects(path) else rest)[name] = part
    return selected, rest

  def init(params):
    selected, rest = split(params)
    return rule.init(selected), other.init(rest)

  def update(updates, state, params):
    trees = zip((rule, other), split(updates), state, split(params), strict=True)
    (selected, rest), states = zip(
      *(r.update(*args) for r, *args in trees), strict=True
    )
    return merge(selected, rest), states

  return optax.GradientTransformation(init, update)


def is_hidden(weights: Any) -> Callable[[tuple[str, ...]], bool]:
  """Whether a parameter, by its names, is a matrix between hidden vectors."""
  return lambda path: weight_at(weights, path).hidden


def matrix_axes(weights: Any) -> Callable[[Any], Any]:
  """For Muon: a function from matrices to their input and output axes. Axes that are
  neither are those of stacked weights."""

  def of(path, leaf):
    weight = weight_at(weights, names(path))
    inputs, stacked = weight.where(weight.inputs), weight.where(weight.stacked)
    outputs = (i for i in range(leaf.ndim) if i not in (*inputs, *stacked))
    return contrib.MuonDimensionNumbers(inputs, tuple(outputs))

  return lambda params: jax.tree_util.tree_map_with_path(of, params)


def scale_by_larger_side(weights: Any) -> "optax.GradientTransformation":
  """Updates of matrices times 0.2 · sqrt(max(inputs, outputs))."""

  def scale(leaf, axes):
    sides = (math.prod(leaf.shape[axis] for axis in side) for side in axes)
    return leaf * (0.2 * max(sides) ** 0.5)

  return optax.stateless(
    lambda updates, _: jax.tree.map(scale, updates, matrix_axes(weights)(updates))
  )


def per_weight(
  rule: "optax.GradientTransformation", weights: Any
) -> "optax.GradientTransformation":
  """`rule` for each of the weights stacked in a parameter by itself: a matrix as
  `[inputs, outputs]`, or the other way round where its outputs come first; anything
  else in its own shape."""

  def fold(path, leaf):
    weight = weight_at(weights, names(path))
    stacked, inputs = weight.where(weight.stacked), weight.where(weight.inputs)
    own = tuple(i for i in range(leaf.ndim) if i not in stacked)
    shape = tuple(leaf.shape[i] for i in own)
    if inputs:
      inputs_first = own[: len(inputs)] == inputs
      border = len(inputs) if inputs_first else len(own) - len(inputs)
      shape = math.prod(shape[:border]), math.prod(shape[border:])
    return leaf.reshape(math.prod(leaf.shape[i] for i in stacked), *shape)

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
