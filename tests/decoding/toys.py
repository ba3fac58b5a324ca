"""Toy models for searches: a `step` whose cache must follow its hypothesis, and the
same model in plain Python."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from tests.oracles import beam as oracle
from transformer.batch import BOS, EOS, PAD
from transformer.decoding.state import DecodeState, initial_coverage

ROWS = 1009  # of the tables; prime
SOURCE = 3  # tokens of every sentence's source


@dataclasses.dataclass(frozen=True)
class Toy:
  """Logits looked up by a hash of the sentence and the last `order` tokens (0: of all
  of them), which the cache holds."""

  vocabulary: int
  order: int = 0
  seed: int = 0
  scale: float = 2.0
  dtype: type = jnp.float32

  @functools.cached_property
  def table_rv(self):
    generator = np.random.default_rng(self.seed)
    table_rv = self.scale * generator.normal(size=(ROWS, self.vocabulary)) + 0.0
    return table_rv.astype(self.dtype)

  @functools.cached_property
  def logprob_rv(self):
    table_rv = self.table_rv.astype(np.float64)
    return table_rv - np.log(np.exp(table_rv).sum(axis=-1, keepdims=True))

  @functools.cached_property
  def weight_rs(self):
    """How a step attends to its source."""
    weight_rs = np.random.default_rng(self.seed).exponential(size=(ROWS, SOURCE)) ** 3
    return (weight_rs / weight_rs.sum(axis=1, keepdims=True)).astype(np.float32)

  def start(self, sentence_b, capacity):
    """The cache: tokens fed so far, where to write, and a leaf of odd size that the
    step leaves alone. Encoded: the number of the sentence, and the same. One
    token of padding follows every source."""
    b = len(sentence_b)
    cache = (
      jnp.zeros((b, 1, capacity), jnp.int32),
      jnp.zeros((b, 1), jnp.int32),
      jnp.zeros((b, 1, 17)),
    )
    encoded = jnp.asarray(sentence_b, jnp.int32), jnp.zeros((b, 13))
    seg_bs = jnp.ones((b, SOURCE + 1), jnp.int32).at[:, SOURCE].set(0)
    return DecodeState(cache, encoded, 0, initial_coverage(seg_bs))

  def step(self, token_bw, state):
    (past_bwt, at_bw, odd), (sentence_b, _), *_ = state
    b, w, t = past_bwt.shape
    place_t = jnp.arange(t)
    here_bwt = place_t[None, None, :] == at_bw[:, :, None]
    past_bwt = jnp.where(here_bwt, token_bw[:, :, None], past_bwt)

    def mix(i, hash_bw):
      seen_bw = i <= at_bw
      if self.order:
        seen_bw &= i > at_bw - self.order
      next_bw = (hash_bw * 31 + past_bwt[:, :, i] + 7) % ROWS
      return jnp.where(seen_bw, next_bw, hash_bw)

    first_bw = jnp.broadcast_to(sentence_b[:, None], (b, w))
    hash_bw = jax.lax.fori_loop(0, t, mix, first_bw)
    logits_bwv = jnp.asarray(self.table_rv)[hash_bw]
    weight_bws = jnp.pad(jnp.asarray(self.weight_rs)[hash_bw], [(0, 0)] * 2 + [(0, 1)])
    return logits_bwv, state.after((past_bwt, at_bw + 1, odd), weight_bws)

  def row(self, sentence, past):
    """Of the tables, after the tokens `past`."""
    row = sentence
    for token in (BOS, *past)[-self.order :]:
      row = (row * 31 + token + 7) % ROWS
    return row

  def next_token(self, sentence):
    """`next_token(y)` of the oracle: log-probabilities after the tokens `y`."""
    return lambda past: self.logprob_rv[self.row(sentence, past)]

  def attended(self, sentence, output):
    """How each step of a whole output attended to the source, `[t, s]`."""
    rows = [self.row(sentence, output[:t]) for t in range(len(output))]
    return self.weight_rs[rows].astype(np.float64)


@functools.cache
def log_probability(toy, sentence, output):
  """Of a whole output of the toy."""
  return oracle.log_probability(output, toy.next_token(sentence))


def objective(toy, sentence, output, penalty):
  """The score of a whole output of the toy, without what is tested."""
  total = log_probability(toy, sentence, output) / float(penalty.divisor(len(output)))
  if penalty.needs_attention:
    attention_ts = toy.attended(sentence, output)
    total += oracle.coverage_penalty(attention_ts, penalty.beta)
  return total


def ids(token_t):
  """A row of output tokens without its padding, which must all be at the end."""
  token_t = np.asarray(token_t)
  size = int((token_t != PAD).sum())
  assert (token_t[:size] != PAD).all()
  assert size == 0 or (token_t[size - 1] == EOS and (token_t[: size - 1] != EOS).all())
  return tuple(int(token) for token in token_t[:size])


def rows(output):
  """An output's arrays as NumPy, sentence by sentence, cut at the longest length that
  the sentence has, so that outputs of different capacities compare."""
  arrays = jax.tree.map(np.asarray, output)
  for i, length_w in enumerate(arrays.length_bw):
    t = int(length_w.max())
    assert (arrays.token_bwt[i, :, t:] == PAD).all()
    assert (arrays.token_logprob_bwt[i, :, t:] == 0).all()
    yield (
      arrays.token_bwt[i, :, :t],
      arrays.score_bw[i],
      arrays.logprob_bw[i],
      arrays.token_logprob_bwt[i, :, :t],
      length_w,
    )
