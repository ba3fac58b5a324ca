"""The dtype of the computation; parameters, softmax, norms and loss stay float32."""

import dataclasses

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Precision:
  """bfloat16 on GPU and TPU, float32 on CPU."""

  @property
  def dtype(self):
    """The dtype of activations and of weights in matrix products, on this machine."""
    return self.on(jax.default_backend())

  def on(self, platform: str):
    """The dtype on `cpu`, `gpu` or `tpu`."""
    return jnp.float32 if platform == "cpu" else jnp.bfloat16


@dataclasses.dataclass(frozen=True)
class Float32(Precision):
  """Single precision everywhere."""

  def on(self, platform: str):
    return jnp.float32


@dataclasses.dataclass(frozen=True)
class Bfloat16(Precision):
  """bfloat16 activations on any device."""

  def on(self, platform: str):
    return jnp.bfloat16
