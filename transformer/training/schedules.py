"""Learning rates as functions of the step."""

import dataclasses

import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Schedule:
  """A constant rate."""

  rate: float = 1e-3

  def __call__(self, step, d_model: int):
    """The rate of update number `step`, counted from 1; `step` may be traced."""
    return jnp.full_like(jnp.asarray(step, jnp.float32), self.rate)


@dataclasses.dataclass(frozen=True)
class Noam(Schedule):
  """rate · d_model^-0.5 · min(step^-0.5, step · warmup^-1.5) (§5.3, eq. 3)."""

  rate: float = 1.0
  warmup: int = 4000

  def __call__(self, step, d_model: int):
    step = jnp.asarray(step, jnp.float32)
    shape = jnp.minimum(step**-0.5, step * self.warmup**-1.5)
    return self.rate * d_model**-0.5 * shape


@dataclasses.dataclass(frozen=True)
class Cosine(Schedule):
  """Linear warm-up to `rate`, then half a cosine to zero at `steps` (Loshchilov and
  Hutter 2017, without restarts)."""

  warmup: int = 1000
  steps: int = 10_000

  def __call__(self, step, d_model: int):
    step = jnp.asarray(step, jnp.float32)
    span = max(self.steps - self.warmup, 1)
    progress = jnp.clip((step - self.warmup) / span, 0.0, 1.0)
    decay = 0.5 * (1.0 + jnp.cos(jnp.pi * progress))
    return self.rate * jnp.minimum(step / max(self.warmup, 1), decay)
