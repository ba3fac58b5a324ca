"""The oracle of the whole Transformer against PyTorch, and Table 3 against its counts.

PyTorch's output is kept here as numbers, so that the tests do not need it.
"""

import math

import numpy as np
import pytest

from tests.oracles import table3
from tests.oracles import transformer as model

D, H, K, U, F, V = 16, 4, 8, 3, 24, 11

SIZES = model.Sizes(vocabulary=7, layers=2, d_model=6, d_ff=10, heads=3, d_k=2, d_v=2)
BOS, SOURCE, TARGET = 2, [4, 6, 3, 5, 1], [5, 3, 6, 1]

PYTORCH_LOGITS = [
  [
    0.70020986,
    -0.68842753,
    -0.09141336,
    -0.07748409,
    0.00752027,
    -0.19355479,
    -0.25334,
  ],
  [0.90304758, -1.73172294, -1.34138147, 0.3532059, -0.13830057, -0.12489187, -0.46524],
  [
    1.82617318,
    -1.42353616,
    -1.72463197,
    1.95451951,
    -0.90209839,
    -0.58533695,
    0.4835387,
  ],
  [
    1.13366186,
    -1.9035691,
    -2.21787181,
    1.40541309,
    -0.55111971,
    -0.04890852,
    -0.0149286,
  ],
]
PYTORCH_LOSS = 10.147872019793853
"""What PyTorch 2.13 makes of `chirp_weights()` in float64: TransformerEncoder and
TransformerDecoder with norm_first=False and norm=None, layer_norm_eps=1e-6, zero
attention biases, generate_square_subsequent_mask; cross_entropy with
label_smoothing=0.1, reduction="sum"."""


def chirp_weights():
  """Full-rank weights from a formula, the same under every version of everything."""
  count = 0

  def make(path, shape):
    nonlocal count
    n = count + 1.0 + np.arange(math.prod(shape))
    count += math.prod(shape)
    return 0.4 * np.sin(n**2).reshape(shape) + (path[-1] == "scale")

  return model.arrays(make, model.shapes(SIZES))


class TestTransformer:
  def test_logits_and_loss_are_pytorchs(self):
    weights = chirp_weights()
    logits_tv = model.forward(weights, SOURCE, [BOS, *TARGET[:-1]])
    np.testing.assert_allclose(logits_tv, PYTORCH_LOGITS, atol=1e-7)
    total, count = model.loss(weights, SOURCE, TARGET, BOS, smoothing=0.1)
    assert (total, count) == (pytest.approx(PYTORCH_LOSS, rel=1e-12), 4)

  def test_a_future_token_changes_nothing_before_it(self, rng):
    weights = model.random_weights(rng, SIZES)
    before = model.forward(weights, SOURCE, [BOS, 5, 3, 6])
    after = model.forward(weights, SOURCE, [BOS, 5, 4, 6])
    np.testing.assert_allclose(before[:2], after[:2], rtol=1e-12)
    assert (np.abs(before[2:] - after[2:]).max(axis=-1) > 1e-3).all()

  def test_every_weight_matters(self, rng):
    weights = model.random_weights(rng, SIZES)
    before = model.forward(weights, SOURCE, [BOS, 5, 3, 6])
    for path in paths(weights):
      leaf = weights
      for part in path:
        leaf = leaf[part]
      # Not a change that is the same for all keys: softmax would rightly not see it.
      change = 0.5 * rng.standard_normal(leaf.shape)
      leaf += change
      moved = np.abs(model.forward(weights, SOURCE, [BOS, 5, 3, 6]) - before).max()
      assert moved > 1e-4, path
      leaf -= change

  def test_epsilon_is_used(self):
    weights = chirp_weights()
    near = model.forward(weights, SOURCE, [BOS, 5], epsilon=1e-6)
    far = model.forward(weights, SOURCE, [BOS, 5], epsilon=0.1)
    assert np.abs(near - far).max() > 1e-3

  @pytest.mark.parametrize(
    "sizes",
    [SIZES, model.Sizes(V, layers=3, d_model=D, d_ff=F, heads=H, d_k=K, d_v=U)],
  )
  def test_parameters_counts_the_weights(self, rng, sizes):
    weights = model.random_weights(rng, sizes)
    counted = []
    model.arrays(lambda path, leaf: counted.append(leaf.size), weights)
    assert sum(counted) == model.parameters(sizes)


def paths(tree, path=()):
  if isinstance(tree, np.ndarray):
    return [path]
  parts = tree.items() if isinstance(tree, dict) else enumerate(tree)
  return [leaf for name, part in parts for leaf in paths(part, (*path, name))]


class TestTable3:
  def test_is_the_papers_text(self):
    """What §6.2 says of the table in words."""
    group_a = [row for row in table3.ROWS if row.group == "A"]
    best = max(row.bleu for row in [table3.BASE, *group_a])
    assert best - table3.row("h 1").bleu == pytest.approx(0.9)  # "0.9 BLEU worse"
    for row in group_a:  # "keeping the amount of computation constant"
      assert row.heads * row.d_k == row.heads * row.d_v == 512
    assert all(row.bleu < 25.8 for row in table3.ROWS if row.group == "B")
    assert max(table3.ROWS, key=lambda row: row.bleu) is table3.BIG
    assert min(table3.ROWS, key=lambda row: row.perplexity) is table3.BIG
    # §5.4: smoothing "hurts perplexity, but improves accuracy and BLEU score".
    unsmoothed = table3.row("smoothing 0.0")
    assert unsmoothed.perplexity < table3.BASE.perplexity
    assert unsmoothed.bleu < table3.BASE.bleu

  def test_blank_cells_are_the_base_models(self):
    big = table3.complete(table3.BIG)
    assert (big.d_k, big.d_v, big.smoothing, big.dropout) == (64, 64, 0.1, 0.3)
    assert table3.complete(table3.BASE) == table3.BASE
    assert table3.complete(table3.row("dropout 0.0")).dropout == 0
    assert len(table3.ROWS) == 20

  @pytest.mark.parametrize(
    ("name", "count"),
    [
      ("base", 65_093_632),
      ("d_k 16", 58_015_744),
      ("d_k 32", 60_375_040),
      ("N 2", 35_692_544),
      ("N 4", 50_393_088),
      ("N 8", 79_794_176),
      ("d 256", 27_840_512),
      ("d 1024", 167_911_424),
      ("ff 1024", 52_498_432),
      ("ff 4096", 90_284_032),
    ],
  )
  def test_parameters_at_a_vocabulary_of_41000(self, name, count):
    """Within one million of the printed figure: docs/papers.md says what this means."""
    row = table3.row(name)
    assert model.parameters(table3.sizes(row, 41_000)) == count
    assert abs(count - row.millions * 1e6) < 1e6

  def test_base_at_the_vocabulary_of_the_text(self):
    """§5.1 has "about 37000 tokens": two million short of the table's 65."""
    assert model.parameters(table3.sizes(table3.BASE, 37_000)) == 63_045_632

  def test_vocabularies_that_fit(self):
    """The vocabularies at which a row comes out exactly as printed, rounded."""
    fits = {row.name: vocabularies(row) for row in table3.ROWS if row.millions}
    small = [fit for name, fit in fits.items() if name != "big"]
    shared = set.intersection(*small)
    assert (min(shared), max(shared)) == (41_004, 41_208)
    assert (min(fits["big"]), max(fits["big"])) == (35_368, 36_344)
    assert not shared & fits["big"]


def vocabularies(row):
  return {
    vocabulary
    for vocabulary in range(35_000, 45_000)
    if round(model.parameters(table3.sizes(row, vocabulary)) / 1e6) == row.millions
  }
