"""The oracles against what is not ours: other libraries, the paper's claims, hand sums.

Flax, Optax and SciPy are asked here; PyTorch's answer for a whole model is kept below
as numbers, so that the tests do not need it.
"""

import itertools
import math

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest
import scipy.special
import scipy.stats

from tests.oracles import attention, beam, loss, norm, positions, schedule, table3
from tests.oracles import transformer as model

T, S, D, H, K, U, F, V = 5, 7, 16, 4, 8, 3, 24, 11

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


@pytest.fixture
def rng():
  return np.random.default_rng(1706)


@pytest.fixture
def float64():
  with jax.enable_x64(True):
    yield


def attention_weights(rng, value_channels=U):
  return {
    "q": rng.standard_normal((D, H, K)),
    "k": rng.standard_normal((D, H, K)),
    "v": rng.standard_normal((D, H, value_channels)),
    "o": rng.standard_normal((H, value_channels, D)),
  }


def chirp_weights():
  """Full-rank weights from a formula, the same under every version of everything."""
  count = 0

  def make(path, shape):
    nonlocal count
    n = count + 1.0 + np.arange(math.prod(shape))
    count += math.prod(shape)
    return 0.4 * np.sin(n**2).reshape(shape) + (path[-1] == "scale")

  return model.arrays(make, model.shapes(SIZES))


class TestAttention:
  def test_softmax_is_scipys(self, rng):
    x_ts = 50 * rng.standard_normal((T, S))
    np.testing.assert_allclose(
      attention.softmax(x_ts), scipy.special.softmax(x_ts, axis=-1), rtol=1e-12
    )

  def test_weights_by_hand(self):
    # d_k = 4 makes the scale a half: scores 0 and 2 ln 3 become 0 and ln 3.
    q_tk = np.array([[1.0, 0, 0, 0]])
    k_sk = np.array([[0, 5.0, 0, 0], [2 * np.log(3), 0, 0, 0]])
    np.testing.assert_allclose(attention.attention_weights(q_tk, k_sk), [[0.25, 0.75]])
    v_su = np.array([[4.0, 8, 0], [0, 4, 12]])
    np.testing.assert_allclose(
      attention.scaled_dot_product_attention(q_tk, k_sk, v_su), [[1.0, 5, 9]]
    )

  def test_weights_are_distributions_over_allowed_keys(self, rng):
    q_tk, k_sk = rng.standard_normal((T, K)), rng.standard_normal((S, K))
    allowed_ts = rng.random((T, S)) < 0.5
    allowed_ts[:, 2] = True
    weights_ts = attention.attention_weights(q_tk, k_sk, allowed_ts)
    np.testing.assert_allclose(weights_ts.sum(axis=-1), np.ones(T))
    assert (weights_ts[~allowed_ts] == 0).all()
    assert (weights_ts[allowed_ts] > 0).all()

  def test_a_masked_key_is_an_absent_key(self, rng):
    q_tk, k_sk = rng.standard_normal((T, K)), rng.standard_normal((S, K))
    v_su = rng.standard_normal((S, U))
    kept = np.array([0, 3, 4])
    masked = attention.scaled_dot_product_attention(
      q_tk, k_sk, v_su, np.isin(np.arange(S), kept)[None, :]
    )
    absent = attention.scaled_dot_product_attention(q_tk, k_sk[kept], v_su[kept])
    np.testing.assert_allclose(masked, absent, rtol=1e-12)

  def test_a_query_that_sees_nothing_is_an_error(self, rng):
    allowed_ts = np.ones((T, S), bool)
    allowed_ts[3] = False
    q_tk, k_sk = rng.standard_normal((T, K)), rng.standard_normal((S, K))
    with pytest.raises(ValueError, match="see no key"):
      attention.attention_weights(q_tk, k_sk, allowed_ts)

  def test_causal_is_the_lower_triangle(self):
    expected = [[True, False, False], [True, True, False], [True, True, True]]
    np.testing.assert_array_equal(attention.causal(3), expected)

  def test_multi_head_attention_is_flaxs(self, rng, float64):
    weights = attention_weights(rng, K)  # Flax's layer has one size of channel
    x_td, memory_sd = rng.standard_normal((T, D)), rng.standard_normal((S, D))
    allowed_ts = rng.random((T, S)) < 0.6
    allowed_ts[:, 1] = True
    layer = nn.MultiHeadDotProductAttention(
      H, qkv_features=H * K, use_bias=False, param_dtype=np.float64
    )
    names = {"q": "query", "k": "key", "v": "value", "o": "out"}
    parameters = {names[name]: {"kernel": leaf} for name, leaf in weights.items()}
    mask = allowed_ts[None]
    theirs = layer.apply({"params": parameters}, x_td, memory_sd, mask=mask)
    ours = attention.multi_head_attention(x_td, memory_sd, weights, allowed_ts)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)

  def test_heads_add_up(self, rng):
    # Concat(heads) W^O is the sum over heads of head_i times its own rows of W^O.
    weights = attention_weights(rng)
    x_td, memory_sd = rng.standard_normal((T, D)), rng.standard_normal((S, D))
    parts = [
      attention.multi_head_attention(
        x_td,
        memory_sd,
        {
          name: w[i : i + 1] if name == "o" else w[:, i : i + 1]
          for name, w in weights.items()
        },
      )
      for i in range(H)
    ]
    whole = attention.multi_head_attention(x_td, memory_sd, weights)
    np.testing.assert_allclose(whole, sum(parts), rtol=1e-10, atol=1e-10)


class TestPositions:
  def test_by_hand(self):
    # d = 4: wavelengths 2 pi and 2 pi 100.
    np.testing.assert_array_equal(positions.sinusoid(0, 4), [0, 1, 0, 1])
    np.testing.assert_allclose(
      positions.sinusoid(3, 4), [np.sin(3), np.cos(3), np.sin(0.03), np.cos(0.03)]
    )

  def test_a_shift_is_one_linear_map(self):
    """§3.5: for any fixed k, PE(pos + k) "can be represented as a linear function"."""
    shift = 9
    here_td = positions.sinusoids(range(40), D)
    there_td = positions.sinusoids(range(shift, 40 + shift), D)
    # The map: a rotation by k / 10000^(2i / d) in every plane (2i, 2i + 1).
    for i in range(D // 2):
      angle = shift / 10000 ** (2 * i / D)
      plane = slice(2 * i, 2 * i + 2)
      sine, cosine = np.sin(angle), np.cos(angle)
      rotated = here_td[:, plane] @ np.array([[cosine, -sine], [sine, cosine]])
      np.testing.assert_allclose(rotated, there_td[:, plane], atol=1e-12)

  def test_wavelengths_are_the_papers(self):
    """§3.5: a geometric progression from 2 pi towards 10000 * 2 pi."""
    for i in range(D // 2):
      wavelength = 2 * np.pi * 10000 ** (2 * i / D)
      turned = positions.sinusoid(5 + wavelength, D)
      plane = slice(2 * i, 2 * i + 2)
      np.testing.assert_allclose(turned[plane], positions.sinusoid(5, D)[plane])


class TestLoss:
  def test_targets_are_optaxs(self):
    one_hot = np.eye(V)[4]
    np.testing.assert_allclose(
      loss.smoothed(4, V, 0.1), optax.smooth_labels(one_hot, 0.1), rtol=1e-6
    )
    assert loss.smoothed(4, V, 0.1)[4] == pytest.approx(0.9 + 0.1 / V)
    assert loss.smoothed(4, V, 0.1).sum() == pytest.approx(1)

  def test_by_hand(self):
    # p = (1/2, 1/4, 1/4); H = -log p = log 2 or log 4 per unit of target mass.
    logits_tv = np.log([[2.0, 1, 1], [2, 1, 1], [2, 1, 1]])
    total, count = loss.cross_entropy(logits_tv, [0, 2, 1], [1, 1, 0])
    assert (total, count) == (pytest.approx(np.log(8)), 2)
    total, count = loss.cross_entropy(logits_tv, [0, 2, 1], [1, 1, 0], smoothing=0.3)
    # q = (.8, .1, .1) and (.1, .1, .8): .8 + .4 and .1 + 1.8 times log 2.
    assert (total, count) == (pytest.approx(3.1 * np.log(2)), 2)

  def test_is_optaxs(self, rng, float64):
    logits_tv, target_t = 9 * rng.standard_normal((T, V)), rng.integers(0, V, T)
    weight_t = np.array([1, 0, 1, 1, 0.5])
    labels_tv = optax.smooth_labels(np.eye(V)[target_t], 0.1)
    theirs_t = optax.softmax_cross_entropy(logits_tv, labels_tv)
    total, count = loss.cross_entropy(logits_tv, target_t, weight_t, 0.1)
    assert total == pytest.approx(float(np.sum(weight_t * theirs_t)), rel=1e-9)
    assert count == 3.5

  def test_floor_is_reached_and_is_the_entropy(self):
    q_v = loss.smoothed(4, V, 0.1)
    total, _ = loss.cross_entropy(np.log(q_v)[None], [4], [1], 0.1)
    assert loss.floor(V, 0.1) == pytest.approx(scipy.stats.entropy(q_v))
    assert total == pytest.approx(loss.floor(V, 0.1))
    assert loss.floor(V, 0.0) == 0


class TestSchedule:
  def test_first_peak_and_decay(self):
    """§5.3: linear for the first `warmup` steps, then the inverse square root."""
    assert schedule.learning_rate(1, 512, 4000) == pytest.approx(1.7469e-7, rel=1e-4)
    rates = [schedule.learning_rate(step, 512, 4000) for step in range(1, 16001)]
    assert int(np.argmax(rates)) + 1 == 4000
    assert max(rates) == pytest.approx(1 / math.sqrt(512 * 4000))
    np.testing.assert_allclose(np.diff(rates[:4000]), rates[0])
    assert rates[15999] == pytest.approx(rates[3999] / 2)

  def test_first_update_of_adam_is_the_rate(self):
    """Kingma & Ba 2015, §2.1: |step| is about alpha; exactly so at t = 1."""
    start = {"a": np.array([3.0, -4.0, 5.0])}
    gradient = {"a": np.array([1e-3, -70.0, 2.0])}
    after, _ = schedule.adam(start, gradient, schedule.adam_start(start), 0.25)
    np.testing.assert_allclose(after["a"], [2.75, -3.75, 4.75], rtol=1e-6)

  def test_adam_is_optaxs(self, rng, float64):
    theta = {"a": rng.standard_normal((2, 3)), "b": rng.standard_normal(5)}
    theirs, state = dict(theta), schedule.adam_start(theta)
    optimizer = optax.adam(
      lambda count: schedule_of_optax(count + 1), b1=0.9, b2=0.98, eps=1e-9
    )
    their_state = optimizer.init(theirs)
    for step in range(1, 8):
      gradient = {name: rng.standard_normal(leaf.shape) for name, leaf in theta.items()}
      rate = schedule.learning_rate(step, D, 3)
      theta, state = schedule.adam(theta, gradient, state, rate)
      updates, their_state = optimizer.update(gradient, their_state)
      theirs = optax.apply_updates(theirs, updates)
    assert state[0] == 7
    for name in theta:
      np.testing.assert_allclose(theta[name], theirs[name], rtol=1e-6)


def schedule_of_optax(step):
  """§5.3 from Optax's parts, warm-up 3: linear up to the peak, then the root."""
  peak = 1 / math.sqrt(D * 3)
  rising = optax.linear_schedule(0, peak, 3)(step)
  return jax.numpy.where(step <= 3, rising, peak * jax.numpy.sqrt(3 / step))


class TestNorm:
  def test_layer_norm_by_hand(self):
    x = np.array([1.0, 2, 3, 6])  # mean 3, variance (4 + 1 + 0 + 9) / 4 = 3.5
    normal = norm.layer_norm(x, 2.0, 1.0, epsilon=0.5)
    np.testing.assert_allclose(normal, [-1, 0, 1, 4])

  def test_rms_norm_by_hand(self):
    x = np.array([1.0, 1, 3, 5])  # mean square 9
    np.testing.assert_allclose(norm.rms_norm(x, 6.0, 0.0), [2, 2, 6, 10])
    np.testing.assert_allclose(norm.rms_norm(x, 8.0, 7.0), [2, 2, 6, 10])

  @pytest.mark.parametrize("epsilon", [1e-6, 0.3])
  def test_are_flaxs(self, rng, float64, epsilon):
    x_td = 3 + rng.standard_normal((T, D))
    scale, bias = rng.standard_normal(D), rng.standard_normal(D)
    theirs = nn.LayerNorm(epsilon=epsilon, use_fast_variance=False).apply(
      {"params": {"scale": scale, "bias": bias}}, x_td
    )
    ours = norm.layer_norm(x_td, scale, bias, epsilon)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)
    theirs = nn.RMSNorm(epsilon=epsilon).apply({"params": {"scale": scale}}, x_td)
    np.testing.assert_allclose(norm.rms_norm(x_td, scale, epsilon), theirs, rtol=1e-9)


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


class TestBeam:
  def test_every_output_once(self):
    # Words {0, 2} and the end 1: 1 + 2 + 4 finished outputs, and 8 that were cut.
    finished = list(beam.outputs(3, eos=1, longest=3))
    assert finished == [
      (1,), (0, 1), (2, 1), (0, 0, 1), (0, 2, 1), (2, 0, 1), (2, 2, 1),
    ]  # fmt: skip
    cut = set(beam.outputs(3, 1, 3, unfinished=True)) - set(finished)
    assert len(cut) == 8 and all(len(y) == 3 and 1 not in y for y in cut)
    assert list(beam.outputs(3, 1, 3, prefix=(2,))) == [(2, 1), (2, 0, 1), (2, 2, 1)]
    cut = set(beam.outputs(3, 1, 3, prefix=(2,), unfinished=True)) - set(finished)
    assert cut == {(2, 0, 0), (2, 0, 2), (2, 2, 0), (2, 2, 2)}
    allowed = list(beam.outputs(4, 1, 3, prefix=(0,), suppressed=(0, 3)))
    assert allowed == [(0, 1), (0, 2, 1)]

  def test_probabilities_add_up_to_one(self, rng):
    table_vv = np.log(rng.dirichlet(np.ones(4), size=4))

    def score(output):
      return beam.log_probability(output, lambda y: table_vv[y[-1] if y else 0])

    outputs = list(beam.outputs(4, eos=3, longest=5, unfinished=True))
    assert sum(np.exp(score(y)) for y in outputs) == pytest.approx(1)
    ranked = beam.ranking(score, outputs)
    assert len(ranked) == len(outputs)
    assert all(a >= b for (a, _), (b, _) in itertools.pairwise(ranked))
    assert beam.best(score, 4, 3, 5, unfinished=True) == ranked[0][::-1]

  def test_finds_what_greedy_misses(self):
    # 0 looks better at first (0.6), but all it leads to is unlikely; 1 ends at once.
    next_token = {(): [0.6, 0.4, 0.0], (0,): [0.3, 0.3, 0.4], (1,): [0.0, 0.0, 1.0]}

    def score(output):
      known = all(output[:t] in next_token for t in range(len(output)))
      with np.errstate(divide="ignore"):
        return (
          beam.log_probability(output, lambda y: np.log(next_token[y]))
          if known
          else -np.inf
        )

    output, value = beam.best(score, 3, eos=2, longest=3)
    assert (output, value) == ((1, 2), pytest.approx(np.log(0.4)))

  def test_penalties_by_hand(self):
    assert beam.gnmt_penalty(1, 0.6) == 1
    assert beam.gnmt_penalty(19, 0.5) == pytest.approx(2)
    attention_ts = np.array([[0.5, 0.2, 0.9], [0.5, 0.3, 0.9]])  # sums 1, 0.5, 1.8
    assert beam.coverage_penalty(attention_ts, 0.2) == pytest.approx(0.2 * np.log(0.5))
