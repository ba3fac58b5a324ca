"""What a layer keeps for the backward pass, and what is computed again there."""

import dataclasses

import jax
from flax import linen as nn


@dataclasses.dataclass(frozen=True)
class Remat:
  """Keeps every intermediate result: the most memory, the least work."""

  def __call__(
    self, layer: type[nn.Module], static: tuple[int, ...]
  ) -> type[nn.Module]:
    """A layer that computes the same and keeps what the recipe says; `static` are the
    places of the arguments of its `__call__` that are no arrays, `self` being 0."""
    return layer


@dataclasses.dataclass(frozen=True)
class Full(Remat):
  """Keeps what goes into a layer alone and computes the layer a second time, a third
  more work (Chen et al. 2016)."""

  def __call__(
    self, layer: type[nn.Module], static: tuple[int, ...]
  ) -> type[nn.Module]:
    return nn.remat(layer, prevent_cse=False, static_argnums=static)


@dataclasses.dataclass(frozen=True)
class Projections(Remat):
  """Keeps the products with weights and computes the rest again: scores and weights of
  attention, norms, activations and dropout, which are large and cheap."""

  def __call__(
    self, layer: type[nn.Module], static: tuple[int, ...]
  ) -> type[nn.Module]:
    policy = jax.checkpoint_policies.dots_with_no_batch_dims_saveable
    return nn.remat(layer, prevent_cse=False, static_argnums=static, policy=policy)
