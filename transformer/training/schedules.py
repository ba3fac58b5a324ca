"""Learning rates as functions of the step."""

import dataclasses

import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Schedule:
  """A constant rate.

  Attributes:
    rate: the learning rate, or the highest of it.
  """

  rate: float = 1e-3

  def __call__(self, step, d_model: int):
    """The rate of update number `step`, counted from 1; `step` may be traced."""
    return jnp.full_like(jnp.asarray(step, jnp.float32), self.rate)


@dataclasses.dataclass(frozen=True)
class Noam(Schedule):
  """rate · d_model^-0.5 · min(step^-0.5, step · warmup^-1.5) (§5.3, eq. 3).

  Attributes:
    rate: a factor of the formula; the learning rate is much smaller.
    warmup: updates until the learning rate is highest.
  """

  rate: float = 1.0
  warmup: int = 4000

  def __call__(self, step, d_model: int):
    step = jnp.asarray(step, jnp.float32)
    shape = jnp.minimum(step**-0.5, step * self.warmup**-1.5)
    return self.rate * d_model**-0.5 * shape


@dataclasses.dataclass(frozen=True)
class InverseRoot(Schedule):
  """rate / sqrt(max(step, warmup)): constant, then falling (Raffel et al. 2020,
  §3.1.2).

  Attributes:
    rate: a factor of the formula; the learning rate is much smaller.
    warmup: updates with a constant learning rate.
  """

  rate: float = 1.0
  warmup: int = 10_000

  def __call__(self, step, d_model: int):
    step = jnp.asarray(step, jnp.float32)
    return self.rate * jnp.maximum(step, self.warmup) ** -0.5


@dataclasses.dataclass(frozen=True)
class Linear(Schedule):
  """Linear warm-up to `rate`, then linearly down to zero at `steps` (Devlin et al.
  2019, appendix A.2).

  Attributes:
    warmup: updates until the learning rate is highest.
    steps: updates until it is zero.
  """

  warmup: int = 1000
  steps: int = 10_000

  def __call__(self, step, d_model: int):
    return self.rate * jnp.minimum(
      rise(step, self.warmup), 1.0 - progress(step, self.warmup, self.steps)
    )


@dataclasses.dataclass(frozen=True)
class Cosine(Schedule):
  """Linear warm-up to `rate`, then half a cosine to zero at `steps` (Loshchilov and
  Hutter 2017, without restarts).

  Attributes:
    warmup: updates until the learning rate is highest.
    steps: updates until it is zero.
  """

  warmup: int = 1000
  steps: int = 10_000

  def __call__(self, step, d_model: int):
    fallen = progress(step, self.warmup, self.steps)
    decay = 0.5 * (1.0 + jnp.cos(jnp.pi * fallen))
    return self.rate * jnp.minimum(rise(step, self.warmup), decay)


def rise(step, warmup: int):
  """step / warmup."""
  return jnp.asarray(step, jnp.float32) / max(warmup, 1)


def progress(step, warmup: int, steps: int):
  """How much of the way from `warmup` to `steps` is done, between 0 and 1."""
  step = jnp.asarray(step, jnp.float32)
  return jnp.clip((step - warmup) / max(steps - warmup, 1), 0.0, 1.0)
