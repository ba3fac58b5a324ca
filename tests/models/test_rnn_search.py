"""RNNsearch is the paper's, by an independent one."""

import jax
import numpy as np

from tests.models.test_family import small
from tests.models.test_transformer import example, logits, tokens, variables
from tests.oracles import alignment as oracle
from transformer.batch import BOS
from transformer.models.rnn_search import RNNSearch


def test_the_whole_model_is_the_oracle():
  model, rng = small(RNNSearch), np.random.default_rng(0)
  sources, targets = ([example(rng, n) for n in sizes] for sizes in ((7, 4), (5, 3)))
  found = logits(model, tokens([[s] for s in sources]), tokens([[t] for t in targets]))
  params = jax.tree.map(
    lambda leaf: np.asarray(leaf, np.float64), variables(model)["params"]
  )
  weights = {
    "source": params["source_embedding"]["table"],
    "target": params["target_embedding"]["table"],
    "output": params["output"]["w"],
    "bias": params["output"]["w_bias"],
    "first": params["initial_state"]["w"],
    **{name: params[name] for name in ("forwards", "backwards", "decoder")},
    **params["maxout"],
  }
  for row, (source, target) in enumerate(zip(sources, targets, strict=True)):
    expected = oracle.forward(weights, source, [BOS, *target[:-1]])
    np.testing.assert_allclose(found[row, : len(target)], expected, atol=2e-5)
