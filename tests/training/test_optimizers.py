"""Schedules and optimizers: each against its paper, and what holds for all of them."""

import dataclasses
import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from tests.models.mixtures import mixtures
from tests.models.test_family import small
from tests.models.test_transformer import SMALL
from tests.oracles import optimizers as oracle
from tests.oracles import schedule as schedule_oracle
from tests.tiny import TINY
from transformer import config as configs
from transformer import tree
from transformer.axes import Weight
from transformer.batch import Pairs, Tokens
from transformer.models.base import Model
from transformer.training.matrices import weight_at
from transformer.training.mesh import Mesh
from transformer.training.optimizers import (
  SGD,
  Adafactor,
  Adam,
  AdamW,
  Lion,
  Muon,
  Optimizer,
)
from transformer.training.schedules import Cosine, InverseRoot, Linear, Noam, Schedule
from transformer.training.state import abstract_state, abstract_weights, init_state

L, D, H, K, F, V = 3, 6, 2, 4, 5, 7
MEMBERS = [member() for member in configs.members(Optimizer).values()]
RATES = (0.1, 0.2, 0.05, 0.15)


def random(seed, *shape):
  return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("schedule", configs.members(Schedule).values())
def test_every_schedule_is_finite_never_negative_and_traceable(schedule):
  steps = jnp.arange(1, 20_001, 7)
  rates = jax.jit(jax.vmap(lambda step: schedule()(step, 64, 20_000)))(steps)
  assert np.all(np.isfinite(rates)) and np.all(rates >= 0) and rates[0] > 0


@pytest.mark.parametrize(
  "schedule, reference",
  [
    (InverseRoot(0.3, 10), lambda step: schedule_oracle.inverse_root(step, 0.3, 10)),
    (Linear(0.3, 10, 100), lambda step: schedule_oracle.linear(step, 0.3, 10, 100)),
    (Cosine(0.3, 10, 100), lambda step: schedule_oracle.cosine(step, 0.3, 10, 100)),
    (Linear(0.3, 10), lambda step: schedule_oracle.linear(step, 0.3, 10, 120)),
    (Cosine(0.3, 10), lambda step: schedule_oracle.cosine(step, 0.3, 10, 120)),
    (Schedule(0.3), lambda step: 0.3),
  ],
  ids=lambda value: configs.written(value) if isinstance(value, Schedule) else "",
)
def test_schedules_are_their_papers(schedule, reference):
  for step in (1, 5, 10, 11, 55, 99, 100, 130):
    assert float(schedule(step, 64, 120)) == pytest.approx(reference(step), abs=1e-6)


@pytest.mark.parametrize(
  "schedule, steps, warning",
  [
    (Noam(warmup=20), 20, "warm-up of 20 steps .* the run of 20 ends"),
    (Cosine(warmup=1000), 20, "warm-up of 1,000 steps .* the run of 20 ends"),
    (Linear(warmup=5, steps=30), 20, "step 30 .* at 20 .*: it does not fall to zero"),
    (Cosine(warmup=5, steps=10), 20, "step 10 .* at 20 .*: the rate is zero from"),
    (Noam(warmup=19), 20, None),
    (Cosine(warmup=5), 20, None),
    (Linear(warmup=5, steps=20), 20, None),
    (Schedule(), 20, None),
  ],
)
def test_a_schedule_that_does_not_fit_the_run_is_named(schedule, steps, warning):
  warnings = schedule.warnings(steps)
  assert len(warnings) == (warning is not None)
  assert warning is None or re.search(warning, warnings[0]), warnings


def test_the_length_of_a_schedule_is_that_of_the_run():
  config = dataclasses.replace(TINY, schedule=Cosine(rate=0.3, warmup=2))
  for steps in (6, 10):
    rates = [
      float(dataclasses.replace(config, steps=steps).learning_rate(step))
      for step in (2, 1 + steps // 2, steps)
    ]
    assert rates == pytest.approx([0.3, 0.15, 0.0], abs=1e-6)
  with pytest.raises(ValueError, match=r"--config.schedule.steps: expected 1 or more"):
    configs.override(config, "schedule.steps", "0")


@functools.cache
def training(recipe):
  """A program that puts parameters through gradients, under `RATES`."""
  rule = recipe.transform(lambda count: jnp.asarray(RATES)[count], WEIGHTS)

  def run(params, gradients):
    state = rule.init(params)
    for gradient in gradients:
      updates, state = rule.update(gradient, state, params)
      params = optax.apply_updates(params, updates)
    return params

  return jax.jit(run, compiler_options={"xla_backend_optimization_level": 0})


MATRIX = dict(stacked="l", hidden=True)
WEIGHTS = {
  "layers": {
    "q": Weight(None, tuple("ldhk"), inputs="d", **MATRIX),
    "o": Weight(None, tuple("lhkd"), inputs="hk", **MATRIX),
    "w1": Weight(None, tuple("ldf"), inputs="d", **MATRIX),
    "w1_bias": Weight(None, tuple("lf"), stacked="l"),
    "score": Weight(None, tuple("lhkj"), stacked="lh", inputs="k", hidden=True),
    "scale": Weight(None, tuple("ld"), stacked="l"),
    "relative_k": Weight(None, tuple("lrk"), stacked="l"),
  },
  "embedding": {"table": Weight(None, tuple("vd"), inputs="d")},
}


def updated(recipe, params, gradients):
  return training(recipe)(*jax.tree.map(np.float32, (params, gradients)))


@pytest.mark.parametrize(
  "recipe, rule, decay",
  [
    (Adam(), oracle.adam(0.9, 0.98, 1e-9), 0.0),
    (AdamW(), oracle.adam(0.9, 0.999, 1e-8), 0.01),
    (Lion(decay=0.1), oracle.lion(0.9, 0.99), 0.1),
    (Adafactor(factored=2), oracle.adafactor(0.8, 1.0, True), 0.0),
    (Adafactor(), oracle.adafactor(0.8, 1.0, False), 0.0),
    (Muon(decay=0.1), oracle.muon(0.95), 0.1),
  ],
  ids=["Adam", "AdamW", "Lion", "factored", "Adafactor", "Muon"],
)
def test_rules_are_their_papers_for_every_layer_and_all_its_heads(recipe, rule, decay):
  start = random(0, L, D, H, K)
  gradients = [random(seed, L, D, H, K) for seed in range(1, 5)]
  wrap = [{"layers": {"q": gradient}} for gradient in gradients]
  found = updated(recipe, {"layers": {"q": start}}, wrap)["layers"]["q"]
  for layer in range(L):
    own = [gradient[layer].reshape(D, H * K) for gradient in gradients]
    expected = oracle.run(rule, start[layer].reshape(D, H * K), own, RATES, decay)
    np.testing.assert_allclose(
      found[layer].reshape(D, H * K), expected, rtol=2e-4, atol=2e-4
    )


def test_muon_leaves_all_but_the_weights_of_layers_to_adam():
  start = {
    "embedding": {"table": random(0, V, D)},
    "layers": {"scale": random(1, L, D), "relative_k": random(2, L, 9, K)},
  }
  gradients = [jax.tree.map(lambda x, i=i: x * np.sin(x * i), start) for i in (1, 2)]
  found = updated(Muon(), start, gradients)
  expected = updated(Adam(beta2=0.95, epsilon=1e-8), start, gradients)
  for path, leaf in tree.paths(found).items():
    np.testing.assert_allclose(leaf, tree.paths(expected)[path], atol=1e-6)


def stacked(seed):
  """Parameters of every kind of axes: a stack, and what stands outside."""
  layers = {
    "q": random(seed, L, D, H, K),
    "o": random(seed + 1, L, H, K, D),
    "w1": random(seed + 2, L, D, F),
    "w1_bias": random(seed + 3, L, F),
    "score": random(seed + 4, L, H, K, K),
  }
  return {"layers": layers, "embedding": {"table": random(seed + 5, V, D)}}


@pytest.mark.parametrize("recipe", MEMBERS, ids=lambda member: type(member).__name__)
def test_a_stack_is_updated_as_its_layers_alone_would_be(recipe):
  start, gradients = stacked(0), [stacked(10), stacked(20), stacked(30)]
  together = updated(recipe, start, gradients)

  def alone(params, layer):
    cut = jax.tree.map(lambda leaf: leaf[layer : layer + 1], params["layers"])
    return {"layers": cut, "embedding": params["embedding"]}

  for layer in range(L):
    one = updated(recipe, alone(start, layer), [alone(g, layer) for g in gradients])
    for path, leaf in tree.paths(one).items():
      expected = tree.paths(alone(together, layer))[path]
      np.testing.assert_allclose(leaf, expected, atol=1e-5, err_msg=path)
      assert np.abs(leaf - tree.paths(alone(start, layer))[path]).max() > 1e-3, path


def test_adafactor_keeps_rows_and_columns_of_each_layers_weights():
  params = jax.tree.map(jnp.float32, stacked(0))
  state = Adafactor(factored=4).transform(lambda count: 0.1, WEIGHTS).init(params)
  shapes = {leaf.shape for leaf in jax.tree.leaves(state)}
  assert {(L, D), (L, H * K), (1, V), (1, D)} <= shapes
  assert (L, D, H * K) not in shapes and (L, D, H, K) not in shapes


@pytest.mark.parametrize("recipe", MEMBERS, ids=lambda member: type(member).__name__)
def test_what_an_optimizer_keeps_of_a_weight_lies_as_the_weight_does(recipe):
  batch = Pairs(*(Tokens(*(jnp.ones((2, 3), jnp.int32),) * 3),) * 2)
  module = SMALL.module(32)
  rule = recipe.transform(lambda count: 0.1, abstract_weights(module, batch))
  init = init_state(module, batch, rule, jax.random.key(0))
  mesh = Mesh(data=2, fsdp=2, tensor=2).build([jax.devices()[0]] * 8)
  state = abstract_state(init, mesh)
  params = tree.paths(state.params)
  q = params["encoder/layers/self_attention/q"]
  assert tuple(q.sharding.spec) == (None, "fsdp", "tensor", None)
  kept = tree.paths(state.opt_state)
  same = [
    (path, leaf, params[name])
    for path, leaf in kept.items()
    for name in params
    if path.endswith("/" + name)
  ]
  for path, leaf, param in same:
    assert leaf.shape == param.shape and leaf.sharding == param.sharding, path
  nothing_of_that_shape = isinstance(recipe, (SGD, Adafactor))
  assert bool(same) != nothing_of_that_shape


VOCABULARY = 13

MODELS = [small(kind) for kind in configs.members(Model).values()]
MODELS += [param.values[0] for param in mixtures(SMALL)]
"""Every model, and mixtures of all recipes of the Transformer."""

TABLES = {
  "b", "time", "position", "row", "column", "table", "relative_k", "relative_v",
  "score", "content_bias", "distance_bias",
}  # fmt: skip
"""Parameters of two axes or more that are not matrices, by name."""


def abstract(model):
  return abstract_weights(model.module(VOCABULARY), model.example())


def shapes(model):
  return {
    path: leaf.shape for path, leaf in tree.paths(nn.unbox(abstract(model))).items()
  }


def stacked_paths(model):
  """Parameters whose first axis is longer where the model is deeper, with its
  length."""
  depth = next((name for name in ("layers", "hops") if hasattr(model, name)), None)
  if depth is None:
    return {}
  deeper = dataclasses.replace(model, **{depth: getattr(model, depth) + 1})
  more = shapes(deeper)
  return {path: shape for path, shape in shapes(model).items() if more[path] != shape}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_every_weight_of_every_model_is_treated_per_layer_and_as_a_matrix(model):
  """Adafactor keeps a row and a column of each layer's matrix, and Muon takes it."""
  weights, stacked = abstract(model), stacked_paths(model)
  rule = Adafactor(factored=1).transform(lambda count: 0.1, weights)
  state = tree.paths(jax.eval_shape(rule.init, weights))
  for path, shape in shapes(model).items():
    layers, own = (shape[0], shape[1:]) if path in stacked else (1, shape)
    rows, columns = (state[f"0/{path}/0/{name}"].shape for name in ("v_row", "v_col"))
    weight = weight_at(weights, tuple(path.split("/")))
    if len(own) < 2 or path.rpartition("/")[2] in TABLES:
      assert rows[0] % layers == 0, path
    else:
      assert rows[0] == columns[0] == layers, path
      assert math.prod(rows) * math.prod(columns) == layers * math.prod(shape), path
      # A bias of heads has two axes as well.
      is_bias = path.endswith("_bias") or path not in stacked
      assert weight.hidden or is_bias or set("v") & set(weight.names), path
