"""Optimizers, through optax."""

import abc
import dataclasses
from collections.abc import Callable
from typing import Annotated, Any

from etils import epy

from transformer.config import Epsilon, Fraction, Positive, Range
from transformer.training.matrices import (
  is_hidden,
  matrix_axes,
  partition,
  per_weight,
  scale_by_larger_side,
)

with epy.lazy_imports():  # configs name optimizers; only training needs their rules
  import optax
  from optax import contrib


@dataclasses.dataclass(frozen=True)
class Optimizer(abc.ABC):
  """A description of an update rule."""

  @abc.abstractmethod
  def transform(
    self, rate: Callable, weights: Any = None
  ) -> "optax.GradientTransformation":
    """The rule at the learning rate `rate(updates so far)`.

    Args:
      rate: from the number of updates so far to the learning rate.
      weights: the tree of `axes.Weight`s of the parameters, from
        `state.abstract_weights`; only rules that treat a parameter as a matrix
        (Adafactor, Muon) read it.
    """


@dataclasses.dataclass(frozen=True)
class SGD(Optimizer):
  """Plain gradient descent."""

  def transform(
    self, rate: Callable, weights: Any = None
  ) -> "optax.GradientTransformation":
    return optax.sgd(rate)


@dataclasses.dataclass(frozen=True)
class Adam(Optimizer):
  """Adam (Kingma and Ba 2015) with the paper's constants (§5.3), which clips no
  gradient and decays no weight.

  Attributes:
    beta1, beta2: decay of the means of the gradient and of its square.
    epsilon: added to the root of the second mean.
    clip: largest global norm of the gradient; 0 turns clipping off.
    decay: decoupled weight decay, times the rate (Loshchilov and Hutter 2019).
  """

  beta1: Fraction = 0.9
  beta2: Fraction = 0.98
  epsilon: Epsilon = 1e-9
  clip: Annotated[float, Range(0)] = 0.0
  decay: Annotated[float, Range(0, 1000)] = 0.0

  def transform(
    self, rate: Callable, weights: Any = None
  ) -> "optax.GradientTransformation":
    rule = optax.scale_by_adam(self.beta1, self.beta2, self.epsilon)
    return with_clip_and_decay(rule, rate, self.clip, self.decay)


@dataclasses.dataclass(frozen=True)
class AdamW(Adam):
  """Adam with decoupled weight decay of all parameters, rate · decay · parameter at
  every update (Loshchilov and Hutter 2019, algorithm 2), and the constants of Kingma
  and Ba 2015."""

  beta2: Fraction = 0.999
  epsilon: Epsilon = 1e-8
  decay: Annotated[float, Range(0, 1000)] = 0.01


@dataclasses.dataclass(frozen=True)
class Lion(Optimizer):
  """The sign of a mean of gradients (Chen et al. 2023, algorithm 2); `clip` and `decay`
  as in Adam. Its rate should be 3 to 10 times smaller than Adam's, and its decay larger
  by the same factor (§5).

  Attributes:
    beta1: weight of the mean in the update.
    beta2: decay of the mean.
    clip, decay: as in Adam.
  """

  beta1: Fraction = 0.9
  beta2: Fraction = 0.99
  clip: Annotated[float, Range(0)] = 0.0
  decay: Annotated[float, Range(0, 1000)] = 0.0

  def transform(
    self, rate: Callable, weights: Any = None
  ) -> "optax.GradientTransformation":
    rule = optax.scale_by_lion(self.beta1, self.beta2)
    return with_clip_and_decay(rule, rate, self.clip, self.decay)


@dataclasses.dataclass(frozen=True)
class Adafactor(Optimizer):
  """Second moments as rows times columns, updates clipped to an RMS of `clip` and
  scaled by that of the parameter (Shazeer and Stern 2018, §9; no momentum).

  Each weight of each layer is one matrix, its heads side by side. A matrix is factored
  if both of its sides are `factored` or longer. The state is small and replicated on
  every device. The rate is relative, for example 1e-2 or `InverseRoot`.

  Attributes:
    power: the decay of second moments is 1 - step^-power.
    clip: largest RMS of an update before it is scaled.
    factored: shortest side of a matrix whose second moments are factored.
  """

  power: Annotated[float, Range(0, 10)] = 0.8
  clip: Annotated[float, Range(1e-6)] = 1.0
  factored: Positive = 128

  def transform(
    self, rate: Callable, weights: Any = None
  ) -> "optax.GradientTransformation":
    rule = optax.chain(
      optax.scale_by_factored_rms(
        decay_rate=self.power, min_dim_size_to_factor=self.factored
      ),
      optax.clip_by_block_rms(self.clip),
      optax.scale_by_param_block_rms(),
    )
    return optax.chain(per_weight(rule, weights), optax.scale_by_learning_rate(rate))


@dataclasses.dataclass(frozen=True)
class Muon(Optimizer):
  """Orthogonalised momentum for matrices between hidden vectors, and Adam for the rest
  (Jordan et al. 2024, "Muon").

  Each weight of each layer is one matrix, its heads side by side. Its update is scaled
  by 0.2 · sqrt(max(inputs, outputs)), so that one rate and one `decay` serve both rules
  (Liu et al. 2025, §2.2). Adam updates every parameter that is not recorded as `hidden`
  where it is made (`axes.Weight`): embeddings, the maps from pixels and to the logits,
  tables of positions, norms and biases.

  Attributes:
    beta: decay of the momentum of matrices.
    beta1, beta2, epsilon: Adam's, for the other parameters.
    clip, decay: as in Adam.
  """

  beta: Fraction = 0.95
  beta1: Fraction = 0.9
  beta2: Fraction = 0.95
  epsilon: Epsilon = 1e-8
  clip: Annotated[float, Range(0)] = 0.0
  decay: Annotated[float, Range(0, 1000)] = 0.0

  def transform(
    self, rate: Callable, weights: Any = None
  ) -> "optax.GradientTransformation":
    orthogonal = optax.chain(
      contrib.scale_by_muon(
        beta=self.beta, weight_dimension_numbers=matrix_axes(weights)
      ),
      scale_by_larger_side(weights),
    )
    adam = optax.scale_by_adam(self.beta1, self.beta2, self.epsilon)
    rule = partition(orthogonal, adam, is_hidden(weights))
    return with_clip_and_decay(rule, rate, self.clip, self.decay)


def with_clip_and_decay(
  rule: "optax.GradientTransformation", rate: Callable, clip: float, decay: float
) -> "optax.GradientTransformation":
  """Clipping of the gradient, `rule`, weight decay and the learning rate, in this
  order; a `clip` or `decay` of 0 leaves its part out."""
  parts = [optax.clip_by_global_norm(clip)] if clip else []
  parts.append(rule)
  if decay:
    parts.append(optax.add_decayed_weights(decay))
  parts.append(optax.scale_by_learning_rate(rate))
  return optax.chain(*parts)


def frozen(
  rule: "optax.GradientTransformation", prefixes: tuple[str, ...]
) -> "optax.GradientTransformation":
  """`rule` for all parameters except those whose path begins with one of `prefixes`,
  such as `encoder/layers`: these get no update and have no state, and neither clipping
  nor decay includes them. The running averages of batch norm are not parameters, and
  are still updated."""
  if not prefixes:
    return rule
  return partition(optax.set_to_zero(), rule, lambda path: begins_with(path, prefixes))


def begins_with(path: tuple[str, ...], prefixes: tuple[str, ...]) -> bool:
  """Whether the names along a path begin with those of one of `prefixes`."""
  starts = (tuple(prefix.strip("/").split("/")) for prefix in prefixes)
  return any(path[: len(start)] == start for start in starts)
