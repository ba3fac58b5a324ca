"""The memory network: equal to an independent one, and the same alone as in a batch."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from tests.oracles import memory as oracle
from transformer import tree
from transformer.batch import Questions
from transformer.layers.memory_hops import BagOfWords, PositionWeighted, hop
from transformer.models.memory_network import MemoryNetwork
from transformer.tasks.question_answering import QuestionAnswering

V = 13
MODEL = MemoryNetwork(hops=2, d_model=6, memory_size=4)
STORIES = (
  ([[3, 4, 5], [6, 7], [8, 9, 10, 11], [3, 12], [5, 4]], [7, 3]),
  ([[4, 8], [11, 3, 9]], [12, 5, 6]),
)
"""Sentences and a question; the first has more sentences than there are ages."""


def questions(stories, slots=5, empty=0):
  """A batch with room for so many sentences, and empty rows at the end."""
  rows = len(stories) + empty
  id_bst, age_bs = np.full((rows, slots, 7), -1, np.int32), np.zeros((rows, slots), int)
  question_bt = np.full((rows, 7), -1, np.int32)
  for row, (sentences, question) in enumerate(stories):
    for place, ids in enumerate(sentences):
      id_bst[row, place, : len(ids)] = ids
      age_bs[row, place] = len(sentences) - 1 - place
    question_bt[row, : len(question)] = question
  real_b = (np.arange(rows) < len(stories)).astype(np.int32)
  return Questions(id_bst, age_bs.astype(np.int32), question_bt, 3 * real_b, real_b)


def params(model):
  shapes = nn.unbox(
    jax.eval_shape(model.module(V).init, jax.random.key(0), model.example())
  )["params"]
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda leaf: jnp.asarray(0.7 * rng.normal(size=leaf.shape), leaf.dtype), shapes
  )


def logits(model, batch):
  return np.asarray(jax.jit(model.module(V).apply)({"params": params(model)}, batch))


@pytest.mark.parametrize(
  "sentence, encode",
  [(PositionWeighted(), oracle.position_encoding), (BagOfWords(), oracle.bag)],
  ids=["places", "bag"],
)
def test_the_whole_network_is_the_oracles(sentence, encode):
  model = dataclasses.replace(MODEL, sentence=sentence)
  weights = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params(model))
  found = logits(model, questions(STORIES, empty=1))
  assert np.all(np.isfinite(found))
  for (sentences, question), row in zip(STORIES, found, strict=False):
    wanted = oracle.forward(weights, sentences, question, encode)
    np.testing.assert_allclose(row, wanted, rtol=1e-4, atol=1e-5)


def test_a_hop_is_the_oracles_and_reads_nothing_of_nothing():
  rng = np.random.default_rng(1)
  u_bd, memory_bsd, output_bsd = (
    rng.normal(size=size).astype(np.float32) for size in ((2, 6), (2, 5, 6), (2, 5, 6))
  )
  real_bs = np.array([[True, True, False, True, False], [False] * 5])
  found, weight_bs = hop(u_bd, memory_bsd, output_bsd, real_bs)
  chosen = real_bs[0]
  wanted = oracle.hop(u_bd[0], memory_bsd[0][chosen], output_bsd[0][chosen])
  np.testing.assert_allclose(found[0], wanted, rtol=1e-5)
  np.testing.assert_array_equal(found[1], u_bd[1])
  np.testing.assert_allclose(weight_bs.sum(axis=1), [1.0, 0.0], rtol=1e-5)
  assert (np.asarray(weight_bs)[~real_bs] == 0).all()


@pytest.mark.parametrize(
  "sentence", [PositionWeighted(), BagOfWords()], ids=["places", "bag"]
)
def test_padding_and_company_change_no_answer(sentence):
  model = dataclasses.replace(MODEL, sentence=sentence)
  alone = logits(model, questions(STORIES[1:], slots=2))[0]
  other = logits(model, questions(STORIES, slots=6, empty=2))
  np.testing.assert_allclose(other[1], alone, atol=1e-5)
  assert np.abs(other[0] - alone).max() > 1e-2


def test_shape_and_finite_gradient():
  task, batch = QuestionAnswering(), questions(STORIES, empty=1)

  def loss(params):
    sums, _ = task.loss(MODEL.module(V), params, batch, jax.random.key(1))
    return sums.total / sums.count, sums.count

  assert logits(MODEL, batch).shape == (3, V)
  gradient, count = jax.jit(jax.grad(loss, has_aux=True))(params(MODEL))
  assert count == 2
  for path, leaf in tree.paths(gradient).items():
    assert np.all(np.isfinite(leaf)) and np.any(leaf != 0), path


def test_the_order_of_words_counts_with_places_alone():
  (sentences, question), turned = STORIES[0], [ids[::-1] for ids in STORIES[0][0]]
  one, other = (questions([(story, question)]) for story in (sentences, turned))
  for sentence, differs in ((PositionWeighted(), True), (BagOfWords(), False)):
    model = dataclasses.replace(MODEL, sentence=sentence)
    change = np.abs(logits(model, one) - logits(model, other)).max()
    assert (change > 1e-2) == differs and (change < 1e-4) != differs


@pytest.mark.parametrize("change", [dict(hops=0), dict(d_model=0), dict(memory_size=0)])
def test_impossible_sizes_are_refused(change):
  with pytest.raises(ValueError, match=r"model\."):
    dataclasses.replace(MODEL, **change)
