"""Optimizers, through optax."""

import abc
import dataclasses
from collections.abc import Callable

import optax
from optax import contrib

from transformer.training.matrices import apart, dimensions, each_alone, widen


@dataclasses.dataclass(frozen=True)
class Optimizer(abc.ABC):
  """A description of an update rule."""

  @abc.abstractmethod
  def transform(self, rate: Callable) -> optax.GradientTransformation:
    """The rule at the learning rate `rate(updates so far)`."""


@dataclasses.dataclass(frozen=True)
class SGD(Optimizer):
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
  of a name that is not in `matrices.INPUTS` are Adam's.
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


def frozen(
  rule: optax.GradientTransformation, prefixes: tuple[str, ...]
) -> optax.GradientTransformation:
  """`rule` for all parameters but those whose path begins with one of `prefixes`, such
  as `encoder/layers`: these get no update and have no state, and neither clipping nor
  decay sees them. Averages of batch norm are no parameters, and go on."""
  if not prefixes:
    return rule
  return apart(optax.set_to_zero(), rule, lambda names: below(names, prefixes))


def below(names: list[str], prefixes: tuple[str, ...]) -> bool:
  """Whether the names along a path begin with those of one of `prefixes`."""
  starts = (prefix.strip("/").split("/") for prefix in prefixes)
  return any(names[: len(start)] == start for start in starts)
