"""What a model costs, counted from its shapes: nothing is computed."""

import contextlib
import functools
import io
from typing import NamedTuple

import jax
from flax import linen as nn

from transformer import program, tree
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
  """How many numbers are learned."""
  weights, running = shapes(config)
  return tree.size(weights) - tree.size(running)


@functools.lru_cache(maxsize=256)
def flops(config: Config) -> float:
  """Model FLOPs a target slot."""
  shape = max(config.batching.shapes, key=lambda shape: shape.source * shape.target)
  batch = jax.eval_shape(lambda: config.task.example(shape))
  key = jax.eval_shape(lambda: jax.random.key(0))
  loss = functools.partial(config.task.loss, module(config))
  # What computes attention here is of no interest to a count.
  with contextlib.redirect_stderr(io.StringIO()):
    forward = jax.make_jaxpr(loss)(shapes(config)[0], batch, key)
  return 3 * program.flops(forward.jaxpr) / (shape.rows * shape.target)


def module(config: Config) -> nn.Module:
  """The model, with the vocabulary that the experiment asks for."""
  vocabulary = config.task.vocabulary_size(config.data, config.tokenizer)
  return config.model.module(vocabulary, config.precision.dtype)


@functools.lru_cache(maxsize=256)
def shapes(config: Config):
  """Shapes of its weights, and of those of them that are running averages."""
  key = jax.eval_shape(lambda: jax.random.key(0))
  made = nn.unbox(jax.eval_shape(module(config).init, key, config.model.example()))
  return made["params"], made.get("running", {})
