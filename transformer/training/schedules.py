"""Learning rates as functions of the step."""

import dataclasses
from typing import Annotated

import jax.numpy as jnp

from transformer.config import Natural, Positive, Range

Rate = Annotated[float, Range(0, 1_000_000)]


@dataclasses.dataclass(frozen=True)
class Schedule:
  """A constant rate.

  Attributes:
    rate: the learning rate, or the highest of it.
  """

  rate: Rate = 1e-3

  def __call__(self, step, d_model: int, run_steps: int):
    """The rate of update number `step`, counted from 1, of a run of `run_steps` updates
    and a model of width `d_model`; `step` may be traced."""
    return jnp.full_like(jnp.asarray(step, jnp.float32), self.rate)

  def resolved(self, run_steps: int) -> "Schedule":
    """The schedule of a run of `run_steps` updates, which no longer depends on them."""
    return self

  def warnings(self, run_steps: int) -> list[str]:
    """Lines on what does not fit a run of `run_steps` updates."""
    return []


@dataclasses.dataclass(frozen=True)
class Noam(Schedule):
  """rate · d_model^-0.5 · min(step^-0.5, step · warmup^-1.5) (§5.3, eq. 3).

  Attributes:
    rate: a factor of the formula; the learning rate is much smaller.
    warmup: updates until the learning rate is highest.
  """

  rate: Rate = 1.0
  warmup: Positive = 4000

  def __call__(self, step, d_model: int, run_steps: int):
    step = jnp.asarray(step, jnp.float32)
    shape = jnp.minimum(step**-0.5, step * self.warmup**-1.5)
    return self.rate * d_model**-0.5 * shape

  def warnings(self, run_steps: int) -> list[str]:
    return warmup_warnings(self.warmup, run_steps)


@dataclasses.dataclass(frozen=True)
class InverseRoot(Schedule):
  """rate / sqrt(max(step, warmup)): constant, then falling (Raffel et al. 2020,
  §3.1.2).

  Attributes:
    rate: a factor of the formula; the learning rate is much smaller.
    warmup: updates with a constant learning rate.
  """

  rate: Rate = 1.0
  warmup: Natural = 10_000

  def __call__(self, step, d_model: int, run_steps: int):
    step = jnp.asarray(step, jnp.float32)
    return self.rate * jnp.maximum(step, self.warmup) ** -0.5


@dataclasses.dataclass(frozen=True)
class Linear(Schedule):
  """Linear warm-up to `rate`, then linearly down to zero at `steps` (Devlin et al.
  2019, appendix A.2).

  Attributes:
    warmup: updates until the learning rate is highest.
    steps: updates until it is zero; those of the run if None.
  """

  warmup: Natural = 1000
  steps: int | None = None

  def __post_init__(self):
    check_steps(self.steps)

  def resolved(self, run_steps: int) -> Schedule:
    return dataclasses.replace(self, steps=self.steps or run_steps)

  def __call__(self, step, d_model: int, run_steps: int):
    fallen = progress(step, self.warmup, self.steps or run_steps)
    return self.rate * jnp.minimum(rise(step, self.warmup), 1.0 - fallen)

  def warnings(self, run_steps: int) -> list[str]:
    return [
      *warmup_warnings(self.warmup, run_steps),
      *length_warnings(self.steps, run_steps),
    ]


@dataclasses.dataclass(frozen=True)
class Cosine(Linear):
  """Linear warm-up to `rate`, then half a cosine to zero at `steps` (Loshchilov and
  Hutter 2017, without restarts).

  Attributes:
    warmup: updates until the learning rate is highest.
    steps: updates until it is zero; those of the run if None.
  """

  def __call__(self, step, d_model: int, run_steps: int):
    fallen = progress(step, self.warmup, self.steps or run_steps)
    decay = 0.5 * (1.0 + jnp.cos(jnp.pi * fallen))
    return self.rate * jnp.minimum(rise(step, self.warmup), decay)


def rise(step, warmup: int):
  """step / warmup."""
  return jnp.asarray(step, jnp.float32) / max(warmup, 1)


def progress(step, warmup: int, steps: int):
  """How much of the way from `warmup` to `steps` is done, between 0 and 1."""
  step = jnp.asarray(step, jnp.float32)
  return jnp.clip((step - warmup) / max(steps - warmup, 1), 0.0, 1.0)


def check_steps(steps: int | None) -> None:
  """Raises ValueError if a schedule has no length."""
  if steps is not None and steps < 1:
    raise ValueError(
      f"schedule.steps: expected 1 or more, or none for the run's steps, got {steps}"
    )


def warmup_warnings(warmup: int, run_steps: int) -> list[str]:
  """A line where a run ends within the warm-up."""
  if warmup < run_steps:
    return []
  return [
    f"the warm-up of {warmup:,} steps (schedule.warmup) is not over when the run of "
    f"{run_steps:,} ends: the rate only rises"
  ]


def length_warnings(steps: int | None, run_steps: int) -> list[str]:
  """A line where a schedule of a length of its own ends before or after the run."""
  if steps is None or steps == run_steps:
    return []
  effect = (
    "the rate is zero from there on"
    if steps < run_steps
    else "it does not fall to zero"
  )
  return [
    f"the schedule ends at step {steps:,} (schedule.steps), the run at {run_steps:,} "
    f"(steps): {effect}; schedule.steps=none follows the run"
  ]
