"""Rematerialisation keeps less for the backward pass and changes no number."""

import dataclasses
import functools

import jax
import pytest

from tests.models.test_transformer import V, variables
from tests.training.test_step import largest_difference, ragged
from transformer import config as configs
from transformer import tree
from transformer.layers.remat import Full, Projections, Remat
from transformer.models.transformer import Transformer
from transformer.tasks.translation import Translation

MODEL = Transformer(layers=4, d_model=16, d_ff=48, heads=2, d_k=6, dropout=0.2)


@functools.cache
def gradient(remat):
  """Loss and gradients, compiled, with dropout on."""
  module = dataclasses.replace(MODEL, remat=remat).module(V)

  def loss(params):
    return Translation().loss(module, params, ragged(12), jax.random.key(3))[0].value

  params = variables(MODEL)["params"]
  return jax.jit(jax.value_and_grad(loss)).lower(params).compile()


def peak(remat):
  return gradient(remat).memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("name", configs.members(Remat))
def test_remat_is_neutral(name):
  params = variables(MODEL)["params"]
  found = gradient(configs.members(Remat)[name]())(params)
  assert largest_difference(found, gradient(Remat())(params)) < 1e-6


def test_remat_lowers_the_peak_of_memory():
  assert peak(Full()) < 0.5 * peak(Remat())
  assert peak(Full()) < peak(Projections()) < 0.8 * peak(Remat())


@pytest.mark.parametrize("name", configs.members(Remat))
def test_parameters_are_the_same_whatever_is_kept(name):
  def init(remat):
    module = dataclasses.replace(MODEL, remat=remat).module(V)
    shapes = jax.eval_shape(module.init, jax.random.key(0), ragged(2))
    return {path: leaf.shape for path, leaf in tree.paths(shapes).items()}

  assert init(configs.members(Remat)[name]()) == init(Remat())
