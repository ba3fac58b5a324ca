"""The encoder-decoder: equal to an independent one, and the promises of every variant.

The family tests run over every member of every recipe family of the model, found by
themselves, so a new variant is under all of them.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from tests.models.mixtures import mixtures
from tests.oracles import table3
from tests.oracles import transformer as oracle
from transformer import config as configs
from transformer import tree
from transformer.batch import BOS, EOS, PAD, Pairs, Tokens
from transformer.decoding.beam import beam_search
from transformer.decoding.constraint import Constraint
from transformer.decoding.state import FIRST_STEPS
from transformer.layers.norms import LayerNorm, Norm
from transformer.layers.positions import (
  Alibi,
  Learned,
  Position,
  Rope,
  Shaw,
  Sinusoid,
  T5Bias,
  TransformerXLPosition,
)
from transformer.layers.residual import NoResidual, PreNorm
from transformer.models.base import shift_right
from transformer.models.transformer import Transformer

SMALL = Transformer(layers=3, d_model=16, d_ff=24, heads=4, d_k=8, d_v=6, dropout=0.0)
V = 11
RUNNING = ("/mean", "/variance")


def tokens(rows, width=None):
  """Rows of lists of examples; each example is a list of ids."""
  width = width or max(sum(map(len, row)) for row in rows)
  arrays = np.zeros((3, len(rows), width), np.int32)
  for r, row in enumerate(rows):
    at = 0
    for number, ids in enumerate(row, start=1):
      span = slice(at, at + len(ids))
      arrays[:, r, span] = ids, range(len(ids)), [number] * len(ids)
      at += len(ids)
  return Tokens(*arrays)


def example(rng, size):
  return [*rng.integers(4, V, size - 1).tolist(), EOS]


quick = functools.partial(
  jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)
"""Compiles in half the time to a slower program, which a test runs once or twice."""


@functools.cache
def variables(model, vocabulary=V):
  """Random ones; norms and biases away from one and zero, so that each can be wrong."""
  batch = Pairs(tokens([[[4, 5, EOS]]]), tokens([[[6, EOS]]]))
  shapes = nn.unbox(
    jax.eval_shape(model.module(vocabulary).init, jax.random.key(0), batch)
  )
  rng = np.random.default_rng(0)

  def fill(path, leaf):
    centre = 1.0 if path[-1].key in ("scale", "variance") else 0.0
    return jnp.asarray(centre + 0.2 * rng.normal(size=leaf.shape), leaf.dtype)

  # Kept, so never a part of what a test happens to trace.
  with jax.ensure_compile_time_eval():
    return {"params": jax.tree_util.tree_map_with_path(fill, shapes["params"])}


@functools.cache
def compiled(model):
  return quick(model.module(V).apply)


def logits(model, source, target):
  return np.asarray(compiled(model)(variables(model), Pairs(source, target)))


def oracle_weights(params):
  """The project's parameters under the oracle's names."""
  params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)

  def attention(layer, kind):
    return {**layer[f"{kind}_key_value"], **layer[f"{kind}_attention"]}

  def block(layer, kinds):
    feed = layer["feed_forward"]
    found = {
      "feed_forward": {"w1": feed["w1"], "b1": feed["w1_bias"],
                       "w2": feed["w2"], "b2": feed["w2_bias"]}
    }  # fmt: skip
    for number, (ours, theirs) in enumerate(kinds, start=1):
      found[theirs] = attention(layer, ours)
      found[f"norm{number}"] = layer[f"{ours}_sublayer"]
    found[f"norm{len(kinds) + 1}"] = layer["feed_forward_sublayer"]
    return found

  def stack(layers, kinds):
    depth = jax.tree.leaves(layers)[0].shape[0]
    each = (jax.tree.map(lambda leaf, i=i: leaf[i], layers) for i in range(depth))
    return [block(layer, kinds) for layer in each]

  inner = ("self", "self_attention")
  more = {
    f"{stack}_embedding_norm": params[stack]["position_encoding"]["norm"]
    for stack in ("encoder", "decoder")
    if "position_encoding" in params[stack]
  }
  if "logits_bias" in params["embedding"]:
    more["logits_bias"] = params["embedding"]["logits_bias"]
  return {
    **more,
    "embedding": params["embedding"]["table"],
    "encoder": stack(params["encoder"]["layers"], [inner]),
    "decoder": stack(
      params["decoder"]["layers"], [inner, ("source", "cross_attention")]
    ),
  }


@pytest.mark.parametrize(
  "changes",
  [
    {},
    dict(biases=True, logits_bias=True),
    dict(embedding_norm=LayerNorm(), decoder_layers=2, start_id=PAD),
  ],
)
def test_the_whole_model_is_the_oracle(changes):
  model = dataclasses.replace(SMALL, **changes)
  rng = np.random.default_rng(0)
  sources, targets = ([example(rng, n) for n in sizes] for sizes in ((7, 4), (5, 3)))
  found = logits(model, tokens([[s] for s in sources]), tokens([[t] for t in targets]))
  weights = oracle_weights(variables(model)["params"])
  assert len(weights["decoder"]) == model.decoder_depth
  for row, (source, target) in enumerate(zip(sources, targets, strict=True)):
    expected = oracle.forward(weights, source, [model.start_id, *target[:-1]])
    np.testing.assert_allclose(found[row, : len(target)], expected, atol=2e-5)


def test_shift_right_starts_every_packed_example_with_bos():
  packed = tokens([[[5, 6, EOS], [7, EOS]]], width=6)
  assert shift_right(packed)[0, :5].tolist() == [BOS, 5, 6, BOS, 7]


@pytest.mark.parametrize("model", mixtures(SMALL))
def test_shape_and_finite_gradient(model):
  rng = np.random.default_rng(1)
  batch = Pairs(tokens([[example(rng, 7)], [example(rng, 3)]]),
                tokens([[example(rng, 5)], [example(rng, 4)]]))  # fmt: skip
  model = dataclasses.replace(model, dropout=0.2, attention_dropout=0.1)

  def loss(params):
    rngs = {"dropout": jax.random.key(3)}
    y = model.module(V).apply(params, batch, train=True, rngs=rngs)
    assert y.shape == (2, 5, V) and y.dtype == jnp.float32
    return jnp.sum(jnp.square(jax.nn.log_softmax(y)))

  gradient = quick(jax.grad(loss))(variables(model))
  # With neither residual connections nor norms it vanishes on the way down.
  vanishes = type(model.residual) is NoResidual and type(model.norm) is Norm
  for path, leaf in tree.paths(gradient).items():
    assert np.all(np.isfinite(leaf)), path
    assert np.any(leaf != 0) or path.endswith(RUNNING) or vanishes, path


@pytest.mark.parametrize("model", mixtures(SMALL))
def test_a_future_token_changes_no_earlier_output_exactly(model):
  """By gradient: of the logits at place t with respect to the embedded inputs."""
  t = 5
  module, params = model.module(V), variables(model)
  x = jnp.asarray(np.random.default_rng(2).normal(size=(1, t, 16)), jnp.float32)
  y = jnp.asarray(np.random.default_rng(3).normal(size=(1, 7, 16)), jnp.float32)
  pos, seg = jnp.arange(t)[None], jnp.ones((1, t), jnp.int32)

  def decode(x):
    def run(module, x):
      return module.decoder(x, pos, seg, y, jnp.ones((1, 7), jnp.int32))[0]

    return nn.apply(run, module)(params, x)[0]

  reach = np.abs(quick(jax.jacrev(decode))(x)[:, :, 0]).max(axis=(1, 3))
  assert np.all(reach[~np.tri(t, dtype=bool)] == 0.0)
  assert np.all(reach[np.tri(t, dtype=bool)] > 0.0)


@pytest.mark.parametrize("model", mixtures(SMALL))
def test_padding_packing_and_other_rows_change_nothing(model):
  rng = np.random.default_rng(4)
  pairs = [(example(rng, s), example(rng, t)) for s, t in ((6, 4), (3, 5), (4, 2))]
  (s0, t0), (s1, t1), (s2, t2) = pairs
  alone = logits(model, tokens([[s0]]), tokens([[t0]]))[0]
  together = logits(
    model,
    tokens([[s1], [s0], [s1, s0, s2]], 15),
    tokens([[t1], [t0], [t1, t0, t2]], 14),
  )
  padded, packed = together[1, :4], together[2, 5:9]
  for found in (padded, packed):
    # Without any norm the logits are in the hundreds, hence the relative part.
    np.testing.assert_allclose(found, alone, rtol=1e-5, atol=1e-5 * np.abs(alone).max())


@pytest.mark.parametrize("model", mixtures(SMALL))
def test_cached_steps_are_the_full_pass(model):
  rng = np.random.default_rng(5)
  sources = tokens([[example(rng, 7)], [example(rng, 4)]])
  targets = [example(rng, 6), example(rng, 6)]
  full = logits(model, sources, tokens([[t] for t in targets]))
  module = model.module(V)
  params = module.unstack(variables(model)["params"])
  state = quick(module.start, static_argnums=2)(params, sources, 9)
  step, token = quick(module.step), np.full((2, 1), BOS, np.int32)
  for t in range(6):
    found, state = step(params, token, state)
    # Without any norm scores are so large that the softmax makes much of rounding:
    # the full pass itself is then wrong by 4e-5 of the largest logit.
    scale = np.abs(full[:, t]).max()
    np.testing.assert_allclose(found[:, 0], full[:, t], atol=1e-4 * scale)
    token = np.array([[target[t]] for target in targets], np.int32)


def test_without_positions_self_attention_is_permutation_equivariant():
  model = dataclasses.replace(SMALL, position=Position())
  source = tokens([[[4, 5, 6, 7, 8, 9, EOS]]])
  order = np.array([3, 0, 6, 1, 5, 2, 4])
  shuffled = source._replace(id_bt=source.id_bt[:, order])

  def encoder(model):
    apply = functools.partial(model.module(V).apply, method="encode")
    return functools.partial(quick(apply), variables(model))

  encode, placed = encoder(model), encoder(SMALL)
  np.testing.assert_allclose(encode(shuffled), encode(source)[:, order], atol=1e-5)
  assert np.abs(placed(shuffled) - placed(source)[:, order]).max() > 0.1


RELATIVE = {Alibi, Rope, Shaw, T5Bias, TransformerXLPosition}


@pytest.mark.parametrize(
  "scheme",
  [kind for kind in configs.members(Position).values() if kind is not Position],
)
def test_both_stacks_heed_places_and_relative_schemes_their_distances_alone(scheme):
  model = dataclasses.replace(SMALL, position=scheme())
  rng = np.random.default_rng(8)
  x, y = (jnp.asarray(rng.normal(size=(1, n, 16)), jnp.float32) for n in (5, 7))
  seg, source_seg = jnp.ones((1, 5), jnp.int32), jnp.ones((1, 7), jnp.int32)

  @quick
  def stacks(pos):
    def run(module):
      return (
        module.encoder(x, pos, seg)[0],
        module.decoder(x, pos, seg, y, source_seg)[0],
      )

    return nn.apply(run, model.module(V))(variables(model))

  pos = jnp.arange(5)[None]
  for near, later, far in zip(
    stacks(pos), stacks(pos + 9), stacks(3 * pos), strict=True
  ):
    assert np.abs(far - near).max() > 1e-3
    assert (np.abs(later - near).max() < 1e-4) == (scheme in RELATIVE)


def test_position_bias_depends_on_causality():
  model = dataclasses.replace(SMALL, position=T5Bias(buckets=8, farthest=9))
  pos_bt = jnp.arange(5)[None]
  params = variables(model)
  for stack, query, key, bucket in (("encoder", 1, 2, 5), ("decoder", 3, 0, 3)):
    found = nn.apply(lambda m, s=stack: getattr(m, s).position_bias(pos_bt, pos_bt),
                     model.module(V))(params)  # fmt: skip
    table_rh = params["params"][stack]["position_bias"]["table"]
    np.testing.assert_array_equal(found[0, :, query, key], table_rh[bucket])


@pytest.mark.parametrize("unroll", [2, 3])
def test_unroll_is_neutral_and_acts(unroll):
  rng = np.random.default_rng(7)
  batch = Pairs(tokens([[example(rng, 7)]]), tokens([[example(rng, 5)]]))
  model = dataclasses.replace(SMALL, unroll=unroll)
  module, plain = model.module(V), SMALL.module(V)
  lowered = [quick(m.apply).lower(variables(SMALL), batch) for m in (module, plain)]
  found, expected = (program.compile()(variables(SMALL), batch) for program in lowered)
  np.testing.assert_allclose(found, expected, atol=1e-6)
  texts = [program.as_text() for program in lowered]
  # A layer is a function that the unrolled program calls once for each copy.
  assert texts[0].count(" call @") > texts[1].count(" call @")


def test_pre_norm_ends_each_stack_with_a_norm_and_post_norm_does_not():
  def lasts(model):
    return {p for p in tree.paths(variables(model)["params"]) if "/final_norm/" in p}

  pre = lasts(dataclasses.replace(SMALL, residual=PreNorm()))
  assert {"encoder/final_norm/scale", "decoder/final_norm/scale"} <= pre
  assert lasts(SMALL) == set()


@pytest.mark.parametrize(
  "change",
  [dict(layers=0), dict(dropout=1.0), dict(d_model=15, d_k=0), dict(heads=-1)],
)
def test_impossible_sizes_are_refused(change):
  with pytest.raises(ValueError, match=r"model\."):
    dataclasses.replace(SMALL, **change)


def count(model, vocabulary):
  batch = jax.eval_shape(
    lambda: Pairs(*(Tokens(*(jnp.ones((2, 3), jnp.int32),) * 3),) * 2)
  )
  init = model.module(vocabulary).init
  return tree.size(nn.unbox(jax.eval_shape(init, jax.random.key(0), batch)))


@pytest.mark.parametrize("row", table3.ROWS, ids=lambda row: row.name)
def test_every_row_of_table_3_is_a_model_of_its_parameters(row):
  """The oracle's count; tests/oracles/test_transformer.py holds it to the printed
  figures."""
  full = table3.complete(row)
  sizes = {name: getattr(full, name) for name in table3.SETTINGS[:7]}
  position = Learned(length=50) if row.learned_positions else Sinusoid()
  found = count(Transformer(position=position, **sizes), 41_000)
  tables = 2 * 50 * full.d_model if row.learned_positions else 0
  assert found == oracle.parameters(table3.sizes(row, 41_000)) + tables


def test_the_base_model_has_63_million_parameters_at_the_vocabulary_of_the_text():
  assert count(Transformer(), 37_000) == 63_045_632
  big = Transformer(d_model=1024, d_ff=4096, heads=16)
  assert round(count(big, 35_900) / 1e6) == 213


@pytest.mark.parametrize(
  "position", ["Sinusoid", pytest.param("Position", marks=pytest.mark.slow)]
)
def test_a_search_scores_its_outputs_as_a_full_pass_does(position):
  """Hypotheses that fork and die over more steps than a search has slots at first."""
  member = configs.members(configs.annotations(Transformer)["position"])[position]
  model = dataclasses.replace(SMALL, position=member())
  rng, module, steps = np.random.default_rng(7), model.module(V), 3 * FIRST_STEPS + 9
  params = jax.tree.map(lambda leaf: 2.0 * leaf, variables(model)["params"])
  sources = tokens([[example(rng, 7)], [example(rng, 4)]])
  limit_b = np.array([steps - 1, FIRST_STEPS + 5], np.int32)

  @jax.jit
  def search(unstacked):
    state = module.start(unstacked, sources, steps)
    step = functools.partial(module.step, unstacked)
    return beam_search(step, state, Constraint(limit_b, limit_b), steps, 3)

  found = search(module.unstack(params))
  assert np.all(found.length_bw == limit_b[:, None] + 1)
  apply = jax.jit(module.apply)
  for w in range(3):
    targets = [
      [row[: n + 1].tolist()]
      for row, n in zip(np.asarray(found.token_bwt[:, w]), limit_b, strict=True)
    ]
    target = tokens(targets, steps)
    logits_btv = apply({"params": params}, Pairs(sources, target))
    logprob_btv = jax.nn.log_softmax(logits_btv)
    chosen_bt1 = np.take_along_axis(
      np.asarray(logprob_btv), target.id_bt[:, :, None], axis=-1
    )
    expected_bt = np.where(target.seg_bt > 0, chosen_bt1[:, :, 0], 0.0)
    np.testing.assert_allclose(found.token_logprob_bwt[:, w], expected_bt, atol=2e-4)
