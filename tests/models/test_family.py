"""What every encoder-decoder promises, found through the base class of all models, so
that a new one is under all of it: with every member of every recipe that it has."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from tests.models.mixtures import mixtures
from tests.models.test_transformer import (
  V,
  compiled,
  example,
  logits,
  quick,
  tokens,
  variables,
)
from transformer import config as configs
from transformer import experiment, tree
from transformer.batch import BOS, EOS, Pairs
from transformer.decoding.penalty import Coverage
from transformer.decoding.state import KVCache, initial_coverage, repeat
from transformer.inference.search import Search, Searcher
from transformer.layers.embedding import Embedding
from transformer.models.base import Model, shift_right
from transformer.models.parent import ParentModel
from transformer.models.rnn import RNNSeq2Seq
from transformer.models.transformer import Transformer

SIZES = dict(
  layers=2, d_model=16, d_ff=24, heads=4, d_k=8, d_v=6, d_state=12, d_alignment=10,
  d_output=14, d_hidden=18, dropout=0.0, positions=20, patch=2, stages=(1, 1),
  base_channels=8, memory_size=4, classes=7,
)  # fmt: skip
"""The fields of any model, by name, in their small form."""


def small(kind):
  known = configs.annotations(kind)
  return kind(**{name: size for name, size in SIZES.items() if name in known})


KINDS = {
  name: kind
  for name, kind in configs.members(Model).items()
  if kind is not ParentModel and isinstance(small(kind).example(), Pairs)
}
"""Every encoder-decoder: the models that read pairs."""


def members():
  """Each model with all of its recipes; those of the Transformer are in
  test_transformer."""
  for name, kind in KINDS.items():
    if kind is Transformer:
      yield pytest.param(small(kind), id=name)
    else:
      yield from mixtures(small(kind))


MEMBERS = list(members())


def test_the_command_line_knows_every_member():
  assert set(configs.members(Model).values()) == set(experiment.MODELS)


@pytest.mark.parametrize("model", MEMBERS)
def test_shape_and_finite_gradient(model):
  rng = np.random.default_rng(1)
  batch = Pairs(tokens([[example(rng, 7)], [example(rng, 3)]]),
                tokens([[example(rng, 5)], [example(rng, 4)]]))  # fmt: skip
  model = dataclasses.replace(model, dropout=0.2)

  def loss(params):
    rngs = {"dropout": jax.random.key(3)}
    y = model.module(V).apply(params, batch, train=True, rngs=rngs)
    assert y.shape == (2, 5, V) and y.dtype == jnp.float32
    return jnp.sum(jnp.square(jax.nn.log_softmax(y)))

  gradient = quick(jax.grad(loss))(variables(model))
  for path, leaf in tree.paths(gradient).items():
    assert np.all(np.isfinite(leaf)), path
    assert np.any(leaf != 0), path


@pytest.mark.parametrize("model", MEMBERS)
def test_a_future_token_changes_no_earlier_output_exactly(model):
  """By gradient: of the logits at place t with respect to the embedded tokens."""
  rng = np.random.default_rng(2)
  t, d = 5, 16
  module, params = model.module(V), variables(model)
  batch = Pairs(tokens([[example(rng, 7)]]), tokens([[example(rng, t)]]))

  def decode(nudge_btd):
    def add(call, args, kwargs, context):
      y = call(*args, **kwargs)
      embeds = isinstance(context.module, Embedding)
      if embeds and context.method_name == "__call__" and y.shape == (1, t, d):
        return y + nudge_btd
      return y

    with nn.intercept_methods(add):
      return module.apply(params, batch)[0]

  reach = quick(jax.jacrev(decode))(jnp.zeros((1, t, d)))[:, :, 0]
  reach = np.abs(reach).max(axis=(1, 3))
  assert np.all(reach[~np.tri(t, dtype=bool)] == 0.0)
  assert np.all(reach[np.tri(t, dtype=bool)] > 0.0)


@pytest.mark.parametrize("model", MEMBERS)
def test_padding_packing_and_company_change_nothing(model):
  rng = np.random.default_rng(4)
  pairs = [(example(rng, s), example(rng, t)) for s, t in ((6, 4), (3, 5), (4, 2))]
  (s0, t0), (s1, t1), (s2, t2) = pairs
  alone = logits(model, tokens([[s0]]), tokens([[t0]]))[0]
  padded = logits(model, tokens([[s0]], 9), tokens([[t0]], 8))[0, :4]
  batched = logits(model, tokens([[s1], [s0]]), tokens([[t1], [t0]]))[1, :4]
  packed = logits(
    model, tokens([[s1, s0, s2]], 15), tokens([[t1, t0, t2]], 14)
  )[0, 5:9]  # fmt: skip
  for found in (padded, batched, packed):
    np.testing.assert_allclose(found, alone, rtol=1e-5, atol=1e-5 * np.abs(alone).max())


@pytest.mark.parametrize("model", MEMBERS)
def test_every_source_token_is_read(model):
  """A model that loses a part of the source would pass all the rest."""
  rng = np.random.default_rng(5)
  source, target = example(rng, 6), tokens([[example(rng, 4)]])
  whole = logits(model, tokens([[source]]), target)
  for place in range(len(source) - 1):
    other = [*source]
    other[place] = 4 + (other[place] - 3) % (V - 4)
    assert other != source
    assert np.abs(logits(model, tokens([[other]]), target) - whole).max() > 1e-5


@pytest.mark.parametrize("model", MEMBERS)
def test_cached_steps_are_the_full_pass(model):
  rng = np.random.default_rng(6)
  sources = tokens([[example(rng, 7)], [example(rng, 4)]])
  targets = [example(rng, 6), example(rng, 6)]
  full = logits(model, sources, tokens([[t] for t in targets]))
  module = model.module(V)
  params = module.unstack(variables(model)["params"])
  state = quick(module.start, static_argnums=2)(params, sources, 9)
  step, token = quick(module.step), np.full((2, 1), BOS, np.int32)
  for t in range(6):
    found, state = step(params, token, state)
    scale = np.abs(full[:, t]).max()
    np.testing.assert_allclose(found[:, 0], full[:, t], rtol=1e-5, atol=1e-5 * scale)
    token = np.array([[target[t]] for target in targets], np.int32)


@pytest.mark.parametrize("model", MEMBERS)
def test_hypotheses_of_a_sentence_do_not_see_each_other(model):
  rng = np.random.default_rng(7)
  module = model.module(V)
  params = module.unstack(variables(model)["params"])
  source = tokens([[example(rng, 7)], [example(rng, 4)]])
  paths = rng.integers(4, V, (2, 3, 5)).astype(np.int32)
  start, step = quick(module.start, static_argnums=2), quick(module.step)

  def run(chosen):
    state = start(params, source, 5)
    state = state._replace(cache=repeat(state.cache, len(chosen)))
    for t in range(5):
      y, state = step(params, paths[:, chosen, t], state)
    own = jax.tree.leaves(state.cache, is_leaf=lambda leaf: isinstance(leaf, KVCache))
    for leaf in own:
      assert isinstance(leaf, KVCache) or leaf.shape[:2] == (2, len(chosen))
    return y

  together = run([0, 1, 2])
  for w in range(3):
    np.testing.assert_allclose(run([w])[:, 0], together[:, w], atol=1e-5)


@pytest.mark.parametrize("model", MEMBERS)
def test_coverage_is_the_sum_of_the_attention_weights(model):
  """Those of the full pass, where it has them; of the last layer, the mean over
  heads."""
  rng = np.random.default_rng(8)
  source = tokens([[example(rng, 7)], [example(rng, 4)]])
  target = tokens([[example(rng, 6)], [example(rng, 6)]])
  variables_ = variables(model)
  module = model.module(V)
  params = module.unstack(variables_["params"])
  state = quick(module.start, static_argnums=2)(params, source, 6)
  state = state._replace(coverage_bws=initial_coverage(source.seg_bt))
  token_bt, step = shift_right(target), quick(module.step)
  for t in range(6):
    _, state = step(params, token_bt[:, t : t + 1], state)
    if state.coverage_bws is None:
      assert isinstance(model, RNNSeq2Seq)
      return
  coverage_bs = np.asarray(state.coverage_bws[:, 0])
  assert coverage_bs.shape == source.id_bt.shape
  assert (coverage_bs[source.seg_bt == 0] == 1).all() and (source.seg_bt == 0).any()
  real_bs = np.where(source.seg_bt == 1, coverage_bs, 0.0)
  np.testing.assert_allclose(real_bs.sum(axis=1), 6.0, rtol=1e-5)
  apply = quick(functools.partial(module.apply, method="attention"))
  found = apply(variables_, Pairs(source, target))["decoder/source_attention"]
  weights_lbts = found.weights_bhts.mean(axis=2)
  np.testing.assert_allclose(weights_lbts[-1].sum(axis=1), real_bs, atol=1e-5)


def test_a_model_that_attends_to_no_source_is_not_asked_for_coverage():
  model = small(RNNSeq2Seq)
  search = Search(penalty=Coverage())
  searcher = Searcher(model.module(V), variables(model)["params"], search)
  with pytest.raises(ValueError, match="and RNNSeq2Seq has none"):
    list(searcher.outputs([np.array([5, 6, EOS], np.int32)]))


@pytest.mark.parametrize(
  "model",
  [
    pytest.param(small(kind), id=name)
    for name, kind in KINDS.items()
    if "unroll" in configs.annotations(kind)
  ],
)
def test_unroll_is_neutral(model):
  rng = np.random.default_rng(8)
  batch = Pairs(tokens([[example(rng, 7)]]), tokens([[example(rng, 5)]]))
  unrolled = dataclasses.replace(model, unroll=2)
  found = compiled(unrolled)(variables(model), batch)
  np.testing.assert_allclose(found, logits(model, *batch), atol=1e-6)


@pytest.mark.parametrize("model", MEMBERS)
def test_dropout_acts_in_training_alone(model):
  dropped = dataclasses.replace(model, dropout=0.3)
  batch = Pairs(tokens([[[4, 5, 6]]]), tokens([[[6, 7]]]))
  draw = quick(functools.partial(dropped.module(V).apply, train=True))
  one, other = (
    draw(variables(model), batch, rngs={"dropout": jax.random.key(k)}) for k in (1, 2)
  )
  assert np.abs(one - other).max() > 0.01
  found = compiled(dropped)(variables(model), batch)
  np.testing.assert_allclose(found, logits(model, *batch), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS.values())
@pytest.mark.parametrize(
  "change", [dict(dropout=1.0), dict(layers=0), dict(d_model=-1)]
)
def test_impossible_sizes_are_refused(kind, change):
  if not set(change) <= set(configs.annotations(kind)):
    pytest.skip(f"{kind.__name__} has no {', '.join(change)}")
  with pytest.raises(ValueError, match=r"model\."):
    dataclasses.replace(small(kind), **change)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_search_finds_the_same_alone_and_in_company(kind):
  rng = np.random.default_rng(9)
  sources = [np.array(example(rng, n), np.int32) for n in (5, 3, 7, 4, 6)]
  model = small(kind)
  module, params = model.module(V), variables(model)["params"]
  params = jax.tree.map(lambda leaf: 4.0 * leaf, params)
  searcher = Searcher(module, params, Search(beam=3, extra=4))

  def outputs(chosen):
    found = dict(searcher.outputs([sources[i] for i in chosen]))
    return {i: found[place].tolist() for place, i in enumerate(chosen)}

  together = outputs(range(5))
  assert len({tuple(found) for found in together.values()}) > 1
  for found in together.values():
    assert EOS in found
  assert outputs([2]) == {2: together[2]}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_in_bfloat16_it_trains_near_float32_and_is_searched(kind):
  rng = np.random.default_rng(10)
  model = small(kind)
  batch = Pairs(tokens([[example(rng, 7)]]), tokens([[example(rng, 5)]]))
  module = model.module(V, jnp.bfloat16)
  found = quick(module.apply)(variables(model), batch)
  assert found.dtype == jnp.float32
  exact = logits(model, *batch)
  assert 0.0 < np.abs(found - exact).max() < 0.1 * np.abs(exact).max()
  source = np.array(example(rng, 6), np.int32)
  searcher = Searcher(module, variables(model)["params"], Search(beam=2, extra=3))
  ((_, ids),) = searcher.outputs([source])
  assert EOS in ids
