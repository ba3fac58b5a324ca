"""The settings of the Transformer that other people's models need."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from tests.models.test_transformer import (
  SMALL,
  V,
  example,
  logits,
  quick,
  tokens,
  variables,
)
from transformer import config as configs
from transformer import tree
from transformer.batch import BOS, EOS, PAD, UNK, Pairs
from transformer.inference.score import score_targets
from transformer.inference.search import Search, Searcher
from transformer.inference.stream import stream
from transformer.models.bert import Bert
from transformer.models.decoder_only import DecoderOnly
from transformer.models.transformer_xl import TransformerXL
from transformer.tasks.translation import Translation
from transformer.training.losses import ChunkedCrossEntropy, CrossEntropy

ABSENT = dataclasses.replace(SMALL, absent_ids=(BOS, UNK), start_id=PAD)


def loss_and_gradient(model, params, batch, cross_entropy):
  task = Translation(smoothing=0.1, cross_entropy=cross_entropy)

  def loss(params):
    return task.loss(model.module(V), params, batch, jax.random.key(0))[0].value

  return quick(jax.value_and_grad(loss))(params)


@pytest.mark.parametrize(
  "cross_entropy", [CrossEntropy(), ChunkedCrossEntropy(4)], ids=["whole", "chunks"]
)
def test_an_absent_id_has_no_part_in_softmax_loss_and_gradient(cross_entropy):
  rng = np.random.default_rng(0)
  batch = Pairs(tokens([[example(rng, 7)]]), tokens([[example(rng, 5)]]))
  params = variables(ABSENT)["params"]
  found = logits(ABSENT, *batch)
  present = [i for i in range(V) if i not in ABSENT.absent_ids]
  assert np.all(found[..., [BOS, UNK]] == -np.inf)
  assert np.all(np.isfinite(found[..., present]))
  assert np.all(jax.nn.softmax(found)[..., [BOS, UNK]] == 0.0)

  value, gradient = loss_and_gradient(ABSENT, params, batch, cross_entropy)
  logprob_tv = jax.nn.log_softmax(found[0][:, present])
  target_t = [present.index(i) for i in batch.target.id_bt[0]]
  chosen_t = logprob_tv[np.arange(5), jnp.asarray(target_t)]
  expected = -np.mean(0.9 * chosen_t + 0.1 * np.mean(logprob_tv, axis=-1))
  assert float(value) == pytest.approx(float(expected), rel=1e-5)
  for path, leaf in tree.paths(gradient).items():
    assert np.all(np.isfinite(leaf)), path
  rows_vd = np.asarray(gradient["embedding"]["table"])
  assert np.all(rows_vd[[BOS, UNK]] == 0.0) and np.all(rows_vd[EOS] != 0.0)


@pytest.mark.parametrize("start_id", [PAD, EOS, 7])
def test_search_scoring_and_streaming_begin_with_the_start_id(start_id):
  """The log-probabilities of a search are those of the full pass, which the oracle
  holds; the streamed and the scored output are the searched one."""
  model = dataclasses.replace(SMALL, start_id=start_id)
  rng = np.random.default_rng(1)
  source = np.array(example(rng, 6), np.int32)
  params = jax.tree.map(lambda leaf: 2.0 * leaf, variables(model)["params"])
  for beam in (1, 3):
    searcher = Searcher(model.module(V), params, Search(beam=beam, extra=3))
    ((_, output),) = searcher.search_all([source])
    n = output.length_bw[0]
    target = output.token_bwt[0, :n]
    apply = functools.partial(quick(model.module(V).apply), {"params": params})
    logits_btv = apply(Pairs(tokens([[source]]), tokens([[target]])))
    logprob_tv = np.asarray(jax.nn.log_softmax(logits_btv[0]))
    found = output.token_logprob_bwt[0, :n]
    np.testing.assert_allclose(found, logprob_tv[np.arange(n), target], atol=2e-4)
    ((_, scored, _),) = score_targets(searcher, [source], [target])
    np.testing.assert_allclose(scored, found, atol=2e-4)
    if beam == 1:
      streamed = list(stream(searcher, source, np.zeros(0, np.int32)))
      assert [*streamed, EOS] == target.tolist()


def test_a_search_never_chooses_an_absent_id():
  model = dataclasses.replace(ABSENT, absent_ids=(BOS, UNK, 5, 6), logits_bias=True)
  params = dict(variables(model)["params"])
  bias_v = np.zeros(V, np.float32)
  bias_v[[UNK, 5, 6]] = 50.0
  params["embedding"] = {**params["embedding"], "logits_bias": jnp.asarray(bias_v)}
  source = np.array(example(np.random.default_rng(2), 5), np.int32)
  searcher = Searcher(model.module(V), params, Search(beam=3, extra=2, n_best=3))
  ((_, output),) = searcher.search_all([source])
  assert not np.isin(output.token_bwt, (UNK, 5, 6)).any()
  assert np.all(np.isfinite(output.score_bw))


@pytest.mark.parametrize(
  "kind, change, message",
  [
    (DecoderOnly, dict(decoder_layers=2), "decoder_layers: DecoderOnly has no use for"),
    (Bert, dict(start_id=PAD), "start_id: Bert has no use for it"),
    (Bert, dict(logits_bias=True), "logits_bias: Bert has no use for it"),
    (TransformerXL, dict(start_id=PAD), "start_id: TransformerXL has no use for it"),
    (type(SMALL), dict(start_id=-1), "start_id: expected 0 or more, got -1"),
    (type(SMALL), dict(absent_ids=(BOS,)), "absent_ids: expected ids .*start_id 2"),
    (type(SMALL), dict(absent_ids=(-1,)), r"absent_ids: expected ids of 0 or more"),
  ],
)
def test_settings_that_mean_nothing_are_refused(kind, change, message):
  with pytest.raises(ValueError, match=message):
    kind(**change)


def test_the_gain_is_a_factor_of_initial_queries_keys_and_values_alone():
  batch = Pairs(tokens([[[4, 5, EOS]]]), tokens([[[6, EOS]]]))

  def initial(gain):
    module = dataclasses.replace(SMALL, qkv_gain=gain).module(V)
    made = nn.unbox(quick(module.init)(jax.random.key(0), batch))
    return tree.paths(made["params"])

  plain, narrow = initial(1.0), initial(0.5)
  assert plain.keys() == narrow.keys()
  scaled = set()
  for name, leaf in plain.items():
    factor = 0.5 if name.endswith(("/q", "/k", "/v")) else 1.0
    np.testing.assert_array_equal(narrow[name], factor * leaf, err_msg=name)
    scaled.add(factor)
  assert scaled == {0.5, 1.0}
  with pytest.raises(ValueError, match="qkv_gain: expected 1e-06 to 1000000, got 0"):
    configs.check(dataclasses.replace(SMALL, qkv_gain=0.0))
