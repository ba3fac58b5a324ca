"""Rematerialisation: what a layer keeps for the backward pass."""

import dataclasses
import inspect

import jax
from flax import linen as nn

STATIC = ("train", "keep_weights")
"""Arguments of a layer's `__call__` that are Python values, not arrays."""


def static_arguments(layer: type[nn.Module]) -> tuple[int, ...]:
  """The positions of a layer's static arguments, `self` being 0."""
  names = inspect.signature(layer.__call__).parameters
  return tuple(i for i, name in enumerate(names) if name in STATIC)


@dataclasses.dataclass(frozen=True)
class Remat:
  """Keeps every intermediate result: the most memory, the least computation."""

  def __call__(self, layer: type[nn.Module]) -> type[nn.Module]:
    """A layer that computes the same and keeps what the recipe says."""
    return layer


@dataclasses.dataclass(frozen=True)
class Full(Remat):
  """Keeps only the inputs of a layer and computes the layer a second time, a third more
  computation (Chen et al. 2016)."""

  def __call__(self, layer: type[nn.Module]) -> type[nn.Module]:
    static = static_arguments(layer)
    return nn.remat(layer, prevent_cse=False, static_argnums=static)


@dataclasses.dataclass(frozen=True)
class Projections(Remat):
  """Keeps the products with weights and recomputes the rest: scores and weights of
  attention, norms, activations and dropout, which are large and cheap."""

  def __call__(self, layer: type[nn.Module]) -> type[nn.Module]:
    policy = jax.checkpoint_policies.dots_with_no_batch_dims_saveable
    static = static_arguments(layer)
    return nn.remat(layer, prevent_cse=False, static_argnums=static, policy=policy)
