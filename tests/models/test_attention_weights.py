"""Attention weights are an output; without a request for them, none are stacked."""

import jax
import numpy as np
import pytest

from tests.models.test_family import small
from tests.models.test_transformer import V, example, tokens, variables
from transformer.batch import Pairs
from transformer.models.conv_seq2seq import ConvSeq2Seq
from transformer.models.transformer import Transformer

LAYERS, B, T, S = 2, 3, 5, 7


def batch():
  rng = np.random.default_rng(0)
  return Pairs(
    tokens([[example(rng, S)] for _ in range(B)]),
    tokens([[example(rng, T)] for _ in range(B)]),
  )


def stacked_shapes(model, method):
  """Shapes of everything that `nn.scan` stacks over the layers in one pass."""
  module, params = model.module(V), variables(model)

  def run(params):
    rngs = {"dropout": jax.random.key(1)}
    arguments = {"train": True, "rngs": rngs} if method is None else {"method": method}
    return module.apply(params, batch(), **arguments)

  found = set()
  for equation in jax.make_jaxpr(run)(params).eqns:
    if equation.primitive.name == "scan":
      carries = equation.params["num_carry"]
      found |= {variable.aval.shape for variable in equation.outvars[carries:]}
  return found


@pytest.mark.parametrize("kind, heads", [(Transformer, (4,)), (ConvSeq2Seq, ())])
def test_weights_are_stacked_on_request_alone(kind, heads):
  model = small(kind)
  weights = LAYERS, B, *heads, T, S
  assert stacked_shapes(model, None) == set()
  assert stacked_shapes(model, "source_weights") == {weights}
