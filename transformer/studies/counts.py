"""What a model costs, counted from its shapes: nothing is computed, no data is read."""

import contextlib
import functools
import io
from typing import NamedTuple

import jax
from flax import linen as nn

from transformer import program, tree
from transformer.experiment import Config


class Counts(NamedTuple):
  """Parameters, and model FLOPs a target token of a training step: three times those of
  the forward pass, multiply-adds counted as two."""

  parameters: int
  flops: float


@functools.lru_cache(maxsize=256)
def count(config: Config) -> Counts:
  """The counts of an experiment, with the vocabulary that it asks for."""
  module = config.model.module(config.tokenizer.vocabulary, config.precision.dtype)
  shape = max(config.batching.shapes, key=lambda shape: shape.source * shape.target)
  batch = jax.eval_shape(lambda: config.task.example(shape))
  key = jax.eval_shape(lambda: jax.random.key(0))
  made = jax.eval_shape(module.init, key, config.model.example())
  weights = nn.unbox(made["params"])
  running = nn.unbox(made.get("running", {}))
  loss = functools.partial(config.task.loss, module)
  # What computes attention here is of no interest to a count.
  with contextlib.redirect_stderr(io.StringIO()):
    forward = jax.make_jaxpr(loss)(weights, batch, key)
  flops = 3 * program.flops(forward.jaxpr) / (shape.rows * shape.target)
  return Counts(tree.size(weights) - tree.size(running), flops)
