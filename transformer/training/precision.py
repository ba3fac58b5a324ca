"""What the model computes in; parameters, softmax, norms and loss stay float32."""

import dataclasses

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Precision:
  """bfloat16 on GPU and TPU, float32 on CPU."""

  @property
  def dtype(self):
    """The dtype of activations and of weights in matrix products."""
    return jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16


@dataclasses.dataclass(frozen=True)
class Float32(Precision):
  """Single precision everywhere."""

  @property
  def dtype(self):
    return jnp.float32


@dataclasses.dataclass(frozen=True)
class Bfloat16(Precision):
  """bfloat16 activations on any device."""

  @property
  def dtype(self):
    return jnp.bfloat16
