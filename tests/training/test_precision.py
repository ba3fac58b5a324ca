"""Precision is what the model computes in; everything that is kept stays float32."""

import functools

import jax
import jax.numpy as jnp
import pytest

from tests.models.test_transformer import SMALL, V, variables
from tests.training.test_step import RULE, ragged, start
from transformer import config as configs
from transformer.tasks.translation import Translation
from transformer.training.precision import Bfloat16, Float32, Precision
from transformer.training.step import train_step


def step(precision):
  """A step's program as text, and what it gives, shapes alone."""
  module = SMALL.module(V, precision.on("gpu"))
  loss = functools.partial(Translation().loss, module)
  state = start(variables(SMALL)["params"])
  run = functools.partial(train_step, loss, RULE)
  arguments = state, ragged(4), jax.random.key(1)
  return str(jax.make_jaxpr(run)(*arguments)), jax.eval_shape(run, *arguments)


def test_the_default_is_half_width_where_it_is_fast():
  assert Precision().on("cpu") == Float32().on("gpu") == jnp.float32
  assert Precision().on("gpu") == Precision().on("tpu") == jnp.bfloat16
  assert Bfloat16().on("cpu") == jnp.bfloat16
  assert Precision().dtype == Precision().on(jax.default_backend())


@pytest.mark.parametrize("name", configs.members(Precision))
def test_parameters_gradients_and_losses_are_float32(name):
  precision = configs.members(Precision)[name]()
  program, (state, numbers) = step(precision)
  kept = jax.tree.leaves((state.params, numbers))
  dtypes = {leaf.dtype for leaf in kept if leaf.dtype != jnp.int32}
  assert dtypes == {jnp.dtype(jnp.float32)}
  assert ("bf16" in program) == (precision.on("gpu") == jnp.bfloat16)


def test_half_width_changes_the_loss_by_rounding_alone():
  def loss(precision):
    task, params = Translation(), variables(SMALL)["params"]
    module = SMALL.module(V, precision.on("gpu"))
    return float(
      jax.jit(lambda p: task.loss(module, p, ragged(4), None)[0].value)(params)
    )

  half, whole = loss(Bfloat16()), loss(Float32())
  assert half != whole
  assert half == pytest.approx(whole, rel=0.02)
