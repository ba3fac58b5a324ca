"""Parameters and FLOPs of a model, counted from its shapes: nothing is computed."""

import contextlib
import functools
import io
import math
from typing import NamedTuple

import jax
from flax import linen as nn

from transformer import tree
from transformer.experiment import Config


class Counts(NamedTuple):
  """Parameters, and model FLOPs a target slot of a training step: three times those of
  the forward pass, multiply-adds counted as two."""

  parameters: int
  flops: float


def count(config: Config) -> Counts:
  """The counts of an experiment, with the vocabulary that it asks for."""
  return Counts(parameters(config), flops(config))


@functools.lru_cache(maxsize=256)
def parameters(config: Config) -> int:
  """The number of learned parameters."""
  weights, batch_stats = shapes(config)
  return tree.size(weights) - tree.size(batch_stats)


@functools.lru_cache(maxsize=256)
def flops(config: Config) -> float:
  """Model FLOPs a target slot."""
  shape = max(config.batching.shapes, key=lambda shape: shape.source * shape.target)
  batch = jax.eval_shape(lambda: config.task.example(shape))
  key = jax.eval_shape(lambda: jax.random.key(0))
  loss = functools.partial(config.task.loss, module(config))
  # Which attention kernel runs here does not matter to a count.
  with contextlib.redirect_stderr(io.StringIO()):
    forward = jax.make_jaxpr(loss)(shapes(config)[0], batch, key)
  return 3 * jaxpr_flops(forward.jaxpr) / (shape.rows * shape.target)


def module(config: Config) -> nn.Module:
  """The model, with the vocabulary that the experiment asks for."""
  vocabulary = config.task.vocabulary_size(config.data, config.tokenizer)
  return config.model.module(vocabulary, config.precision.dtype)


@functools.lru_cache(maxsize=256)
def shapes(config: Config):
  """Shapes of its parameters, and of its batch statistics (which are among them)."""
  key = jax.eval_shape(lambda: jax.random.key(0))
  made = nn.unbox(jax.eval_shape(module(config).init, key, config.model.example()))
  return made["params"], made.get("batch_stats", {})


def jaxpr_flops(jaxpr) -> int:
  """Multiply-adds of all matrix products and convolutions, counted as two; loops of
  known length as often as they run, branches by their most expensive."""
  total = 0
  for equation in jaxpr.eqns:
    parameters = equation.params
    inside = [jaxpr_flops(inner) for inner in bodies(parameters)]
    kind = equation.primitive.name
    if kind == "dot_general":
      total += _product(equation)
    elif kind == "conv_general_dilated":
      kernel = equation.invars[1].aval.shape
      out = parameters["dimension_numbers"].rhs_spec[0]
      total += 2 * equation.outvars[0].aval.size * math.prod(kernel) // kernel[out]
    elif kind == "scan":
      total += parameters["length"] * sum(inside)
    elif kind == "cond":
      total += max(inside)
    else:
      total += sum(inside)
  return total


def bodies(parameters: dict):
  """The programs inside an equation's parameters."""
  for value in parameters.values():
    for each in value if isinstance(value, (tuple, list)) else (value,):
      inner = getattr(each, "jaxpr", each)
      if hasattr(inner, "eqns"):
        yield inner


def _product(equation) -> int:
  (contracted, _), (batched, _) = equation.params["dimension_numbers"]
  left, right = (variable.aval.shape for variable in equation.invars)
  shared = math.prod(left[i] for i in (*contracted, *batched))
  return 2 * math.prod(left) * math.prod(right) // shared
