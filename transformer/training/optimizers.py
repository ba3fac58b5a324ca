"""Optimizers, through optax.

The layers of a stack lie in one leaf, `[l, …]`, and heads have axes of their own. A
rule that looks at a parameter as a matrix, or as a whole, goes by the parameter's path,
so that depth and heads change nothing of what it does to a weight.
"""

import abc
import dataclasses
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


@dataclasses.dataclass(frozen=True)
class Optimizer(abc.ABC):
  """A description of an update rule."""

  @abc.abstractmethod
  def transform(self, rate: Callable) -> optax.GradientTransformation:
    """The rule at the learning rate `rate(updates so far)`."""


@dataclasses.dataclass(frozen=True)
class Sgd(Optimizer):
  """Plain gradient descent."""

  def transform(self, rate: Callable) -> optax.GradientTransformation:
    return optax.sgd(rate)


@dataclasses.dataclass(frozen=True)
class Adam(Optimizer):
  """Adam (Kingma and Ba 2015) with the paper's constants (§5.3).

  `clip` bounds the norm of the gradient, over all parameters, before the update; 0
  does not. `decay` is decoupled weight decay (Loshchilov and Hutter 2019). The paper
  has neither.
  """

  beta1: float = 0.9
  beta2: float = 0.98
  epsilon: float = 1e-9
  clip: float = 0.0
  decay: float = 0.0

  def transform(self, rate: Callable) -> optax.GradientTransformation:
    rule = optax.scale_by_adam(self.beta1, self.beta2, self.epsilon)
    return whole(rule, rate, self.clip, self.decay)


@dataclasses.dataclass(frozen=True)
class AdamW(Adam):
  """Adam with decoupled weight decay, rate · decay · parameter at every update, of all
  parameters (Loshchilov and Hutter 2019, algorithm 2), and the constants of Kingma and
  Ba 2015."""

  beta2: float = 0.999
  epsilon: float = 1e-8
  decay: float = 0.01


@dataclasses.dataclass(frozen=True)
class Lion(Optimizer):
  """The sign of a mean of gradients (Chen et al. 2023, algorithm 2); `clip` and `decay`
  as in Adam. Wants a rate 3 to 10 times smaller, and as much more decay (§5)."""

  beta1: float = 0.9
  beta2: float = 0.99
  clip: float = 0.0
  decay: float = 0.0

  def transform(self, rate: Callable) -> optax.GradientTransformation:
    return whole(
      optax.scale_by_lion(self.beta1, self.beta2), rate, self.clip, self.decay
    )


@dataclasses.dataclass(frozen=True)
class Adafactor(Optimizer):
  """Second moments as rows times columns, updates clipped to an RMS of `clip` and
  scaled by that of the parameter (Shazeer and Stern 2018, §9; no momentum).

  Each weight of each layer is one matrix, its heads side by side. A matrix is factored
  if both sides have `factored` rows or more. What is kept of it is small and whole on
  every device. The rate is relative, 1e-2 say, or `InverseRoot`.
  """

  power: float = 0.8
  clip: float = 1.0
  factored: int = 128

  def transform(self, rate: Callable) -> optax.GradientTransformation:
    rule = optax.chain(
      optax.scale_by_factored_rms(
        decay_rate=self.power, min_dim_size_to_factor=self.factored
      ),
      optax.clip_by_block_rms(self.clip),
      optax.scale_by_param_block_rms(),
    )
    return optax.chain(each_alone(rule), optax.scale_by_learning_rate(rate))


@dataclasses.dataclass(frozen=True)
class Muon(Optimizer):
  """Momentum made orthogonal, for the weights of layers, and Adam for the rest (Jordan
  et al. 2024, "Muon").

  Each weight of each layer is one matrix, its heads side by side. Its update is scaled
  to 0.2 · sqrt(max(inputs, outputs)), so that one rate, and one `decay`, serve both
  rules (Liu et al. 2025, §2.2). Embeddings, position tables, norms, biases and weights
  of a name that is not in `INPUTS` are Adam's.
  """

  beta: float = 0.95
  beta1: float = 0.9
  beta2: float = 0.95
  epsilon: float = 1e-8
  clip: float = 0.0
  decay: float = 0.0

  def transform(self, rate: Callable) -> optax.GradientTransformation:
    orthogonal = optax.chain(
      contrib.scale_by_muon(beta=self.beta, weight_dimension_numbers=dimensions),
      optax.stateless(widen),
    )
    adam = optax.scale_by_adam(self.beta1, self.beta2, self.epsilon)
    return whole(apart(orthogonal, adam), rate, self.clip, self.decay)


def whole(
  rule: optax.GradientTransformation, rate: Callable, clip: float, decay: float
) -> optax.GradientTransformation:
  """`rule` between the clipping of the gradient and weight decay, if any, and the
  rate."""
  parts = [optax.clip_by_global_norm(clip)] if clip else []
  parts.append(rule)
  if decay:
    parts.append(optax.add_decayed_weights(decay))
  parts.append(optax.scale_by_learning_rate(rate))
  return optax.chain(*parts)


def names(path) -> list[str]:
  """The names along a path of a tree of parameters, boxed or not."""
  return [key.key for key in path if isinstance(key, jax.tree_util.DictKey)]


def is_matrix(found: list[str]) -> bool:
  """Whether a parameter, by its names, is a weight of a layer that maps vectors to
  vectors."""
  return STACK in found and found[-1] in INPUTS


def apart(
  rule: optax.GradientTransformation, other: optax.GradientTransformation
) -> optax.GradientTransformation:
  """`rule` for the weights of layers and `other` for all else, each on a tree that has
  nothing but its own."""

  def split(params, above=()):
    own, rest = {}, {}
    for name, part in params.items():
      found = [*above, name]
      if isinstance(part, dict):
        own[name], rest[name] = split(part, found)
      else:
        (own if is_matrix(found) else rest)[name] = part
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
