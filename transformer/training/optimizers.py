"""Optimizers, through optax."""

import abc
import dataclasses
from collections.abc import Callable

import optax


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
    parts = [optax.clip_by_global_norm(self.clip)] if self.clip else []
    parts.append(optax.scale_by_adam(self.beta1, self.beta2, self.epsilon))
    if self.decay:
      parts.append(optax.add_decayed_weights(self.decay))
    parts.append(optax.scale_by_learning_rate(rate))
    return optax.chain(*parts)
