"""The recurrent models are the papers', by independent ones."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from tests.models.test_family import small
from tests.models.test_transformer import example, logits, tokens, variables
from tests.oracles import recurrent as oracle
from transformer.batch import BOS
from transformer.layers.rnn import GRU
from transformer.models.rnn import RNNSeq2Seq

CELLS = [
  (small(RNNSeq2Seq), functools.partial(oracle.lstm, forget=1.0), 2),
  (dataclasses.replace(small(RNNSeq2Seq), cell=GRU()), oracle.gru, 1),
]


def pairs(seed):
  rng = np.random.default_rng(seed)
  return [example(rng, n) for n in (7, 4)], [example(rng, n) for n in (5, 3)]


@pytest.mark.parametrize("model, cell, parts", CELLS, ids=["lstm", "gru"])
def test_the_whole_model_is_the_oracle(model, cell, parts):
  sources, targets = pairs(0)
  found = logits(model, tokens([[s] for s in sources]), tokens([[t] for t in targets]))
  params = jax.tree.map(
    lambda leaf: np.asarray(leaf, np.float64), variables(model)["params"]
  )
  weights = {
    "source": params["source_embedding"]["table"],
    "target": params["target_embedding"]["table"],
    "output": params["output"]["w"],
    "bias": params["output"]["w_bias"],
    "encoder": [params[f"encoder_{l}"] for l in range(model.layers)],
    "decoder": [params[f"decoder_{l}"] for l in range(model.layers)],
  }
  for row, (source, target) in enumerate(zip(sources, targets, strict=True)):
    expected = oracle.encoder_decoder(cell, parts, weights, source, [BOS, *target[:-1]])
    np.testing.assert_allclose(found[row, : len(target)], expected, atol=2e-5)


def test_reading_forwards_reads_a_reversed_source_backwards():
  sources, targets = pairs(1)
  target = tokens([[targets[0]]])
  backwards = small(RNNSeq2Seq)
  forwards = dataclasses.replace(backwards, reverse=False)
  turned = logits(backwards, tokens([[sources[0][::-1]]]), target)
  straight = logits(forwards, tokens([[sources[0]]]), target)
  np.testing.assert_allclose(straight, turned, atol=1e-5)
  assert (
    np.abs(straight - logits(backwards, tokens([[sources[0]]]), target)).max() > 0.01
  )
