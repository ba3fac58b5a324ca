"""Sentence embeddings: the contrastive loss, a run, and its vectors."""

import dataclasses

import jax
import numpy as np
import pytest

from tests.models.test_family import small
from tests.models.test_transformer import V, example, tokens
from tests.tiny import language_config
from transformer import config as configs
from transformer.batch import BOS, Sentences
from transformer.data.batching import Packed
from transformer.data.tokenizers.sentence_piece import SentencePiece
from transformer.layers.pooling import FirstToken
from transformer.models.bert import BertEncoder
from transformer.runs import trainer
from transformer.runs.embedder import Embedder
from transformer.runs.metrics import Metrics
from transformer.tasks.sentence_embedding import SentenceEmbedding, contrastive_loss


def test_the_contrastive_loss_is_equation_4():
  rng = np.random.default_rng(0)
  x, y = (rng.normal(size=(5, 8)) for _ in range(2))
  x, y = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (x, y))
  real = np.array([True, True, False, True, True])
  kept = np.flatnonzero(real)
  expected = 0.0
  for i in kept:
    scores = [np.exp(x[i] @ y[j] / 0.3) for j in kept]
    expected -= np.log(np.exp(x[i] @ y[i] / 0.3) / sum(scores))
  sums = contrastive_loss(x, y, real, 0.3)
  assert float(sums.count) == 4
  assert float(sums.total) == pytest.approx(expected, abs=1e-5)


def test_packed_texts_have_the_loss_that_they_have_alone():
  rng = np.random.default_rng(1)
  texts = [[BOS, *example(rng, n)] for n in (4, 3, 5)]
  model, task = small(BertEncoder), SentenceEmbedding(pooling=FirstToken())
  module = model.module(V)
  apart, packed = (
    Sentences(tokens(rows, 16)) for rows in ([[t] for t in texts], [texts])
  )
  params = module.init(jax.random.key(0), apart)["params"]
  one, other = (task.loss(module, params, batch, None)[0] for batch in (apart, packed))
  assert float(one.count) == float(other.count) == 3
  assert float(one.value) == pytest.approx(float(other.value), abs=1e-5) != 0
  key = jax.random.key(1)
  dropped = dataclasses.replace(model, dropout=0.3).module(V)
  trained = task.loss(dropped, params, apart, key)[0]
  assert float(trained.value) > float(one.value)


def test_a_run_is_trained_and_embeds(tmp_path):
  config = dataclasses.replace(
    language_config(tmp_path),
    model=dataclasses.replace(small(BertEncoder), dropout=0.1),
    task=SentenceEmbedding(context=24),
    tokenizer=SentencePiece(vocabulary=300),
    batching=Packed(tokens=192, length=48),
  )
  assert trainer.train(config, tmp_path / "run") == 0
  names = {name for _, name, _ in Metrics.read(tmp_path / "run")}
  assert {"val/loss", "val/texts"} <= names
  embedder = Embedder.open(tmp_path / "run")
  vectors = embedder.embed(["the cat sat", "two dogs"])
  np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
  assert np.abs(vectors[0] - vectors[1]).max() > 1e-3
  raw = Embedder.open(tmp_path / "run", normalise=False).embed(["the cat sat"])
  assert abs(np.linalg.norm(raw[0]) - 1.0) > 0.1
  # A text beyond the context is cut, and keeps its end.
  long = embedder.encode(["cat " * 99])[0]
  assert len(long) == 24 and long[0] == BOS and long[-1] == 1 and embedder.num_cut == 1


def test_impossible_settings_are_refused():
  with pytest.raises(ValueError, match=r"task\.context: expected 3 or more, got 2"):
    SentenceEmbedding(context=2)
  recipe = SentenceEmbedding(temperature=0.0)
  with pytest.raises(ValueError, match=r"task\.temperature: expected 1e-06 to 1000000"):
    configs.check_numbers(recipe, "task.")
