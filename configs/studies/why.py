"""Small exact facts about the model, each computed.

Claim: what the paper and its readers say of attention holds of this program.
Command: transformer ablate configs/studies/why.py --workdir DIR
Cost: seconds; nothing is trained.
Result: all hold (2026-11-26); docs/studies.md.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from transformer.analysis.counts import count
from transformer.batch import Pairs, Tokens
from transformer.data.batching import Packed
from transformer.data.sources.dates import Dates
from transformer.experiment import Config
from transformer.layers.attention import Attention, KeyValue, TokenContext
from transformer.layers.embedding import Embedding, Tying
from transformer.layers.positions import Position, Sinusoid
from transformer.layers.scores import Score, SharedQueryKey
from transformer.models.transformer import Transformer
from transformer.studies.claims import Claim, Claims

MODEL = Transformer(layers=2, d_model=32, d_ff=48, heads=4, dropout=0.2)
VOCABULARY = 19


def tokens(ids) -> Tokens:
  """One row of tokens, unpacked."""
  id_bt = jnp.asarray([ids], jnp.int32)
  return Tokens(id_bt, jnp.arange(len(ids))[None], jnp.ones_like(id_bt))


def random(seed: int, *shape: int):
  """Numbers from N(0, 1)."""
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


SOURCE = tokens([4, 5, 6, 7, 8, 9, 10])
BATCH = Pairs(SOURCE, tokens([11, 12, 13, 14]))


def equivariance(position: Position) -> float:
  """How far encoding shuffled tokens is from shuffling encoded tokens."""
  module = dataclasses.replace(MODEL, position=position).module(VOCABULARY)
  variables = jax.jit(module.init)(jax.random.key(0), BATCH)
  order = np.array([3, 0, 6, 1, 5, 2, 4])
  shuffled = SOURCE._replace(id_bt=SOURCE.id_bt[:, order])
  encode = jax.jit(functools.partial(module.apply, method="encode"))
  ours, theirs = (encode(variables, source) for source in (shuffled, SOURCE))
  return float(jnp.abs(ours - theirs[:, order]).max())


class Scores(Attention):
  """The scores of self-attention, `[b, h, t, s]`, before any mask."""

  @nn.compact
  def __call__(self, x_btd):
    k_bshk, _ = self.key_value(x_btd)
    return self.score(self, self.score.queries(self, x_btd), k_bshk)


def asymmetry(score: Score) -> float:
  """The largest difference between a score and its mirror image."""
  layer = Scores(3, 8, score, key_value=KeyValue(3, 8, 8))
  scores_bhts, _ = layer.init_with_output(jax.random.key(1), random(1, 2, 5, 24))
  return float(jnp.abs(scores_bhts - jnp.swapaxes(scores_bhts, 2, 3)).max())


def weights():
  """The weights of attention under a random mask, `[b, t, h, s]`, and the mask,
  `[b, t, s]`. Values are unit vectors and the output map is the identity, so that what
  comes out are the weights."""
  b, t, s, h, k = 2, 5, 7, 3, 8
  units_bshk = jnp.broadcast_to(jnp.eye(s)[None, :, None], (b, s, h, s))
  mask_bts = np.random.default_rng(2).random((b, t, s)) < 0.5
  mask_bts[:, :, 3] = True
  params = {"q": random(3, h * s, h, k), "o": jnp.eye(h * s).reshape(h, s, h * s)}
  keys_bshk = 3.0 * random(4, b, s, h, k)
  found, _ = Attention(h, k).apply(
    {"params": params}, random(5, b, t, h * s), keys_bshk, units_bshk,
    TokenContext(mask_bts),
  )  # fmt: skip
  return found.reshape(b, t, h, s), mask_bts


def masked_weight() -> float:
  """The largest weight of a token that is hidden."""
  weights_bths, mask_bts = weights()
  return float(jnp.where(mask_bts[:, :, None], 0.0, weights_bths).max())


def missing_from_one() -> float:
  """How far the weights of a query are from adding up to one, at most."""
  return float(jnp.abs(weights()[0].sum(axis=-1) - 1.0).max())


def token_against_place(tying: Tying) -> float:
  """The size of embedded tokens over that of sinusoids, as standard deviations."""
  d_model, slots = 256, 64
  id_bt, pos_bt = jnp.arange(slots)[None] % 50, jnp.arange(slots)[None]
  place_btd = Sinusoid().embed(None, jnp.zeros((1, slots, d_model)), pos_bt)
  token_btd, _ = Embedding(50, d_model, tying).init_with_output(
    jax.random.key(0), id_bt
  )
  return float(jnp.std(token_btd) / jnp.std(place_btd))


def cost_of_heads(name: str) -> float:
  """Eight heads of an eighth of the width over one head of the full width."""
  eight, one = (
    count(
      Config(Dates(), Transformer(heads=heads), batching=Packed(tokens=512, length=64))
    )
    for heads in (8, 1)
  )
  return getattr(eight, name) / getattr(one, name)


def drawn_apart(train: bool) -> float:
  """The largest difference between two passes over one batch."""
  module = MODEL.module(VOCABULARY)
  variables = jax.jit(module.init)(jax.random.key(0), BATCH)
  forward = jax.jit(functools.partial(module.apply, train=train))
  keys = jax.random.split(jax.random.key(6))
  one, other = (forward(variables, BATCH, rngs={"dropout": key}) for key in keys)
  return float(jnp.abs(one - other).max())


def get_study() -> Claims:
  """Each claim, and where it has one, its opposite."""
  partial = functools.partial
  claims = (
    Claim(
      "without positions, encoding shuffled tokens is shuffling encoded tokens: the "
      "largest difference", "§3.5", partial(equivariance, Position()), 0.0, 1e-5,
    ),
    Claim(
      "with sinusoids it is not", "§3.5", partial(equivariance, Sinusoid()), least=0.1,
    ),
    Claim(
      "queries and keys by one matrix give symmetric scores: the largest difference to "
      "the mirror image", "Kitaev et al. 2020, §2",
      partial(asymmetry, SharedQueryKey()), 0.0, 1e-5,
    ),
    Claim(
      "queries and keys by two matrices do not", "§3.2.2", partial(asymmetry, Score()),
      least=0.1,
    ),
    Claim("the largest weight of a masked token", "§3.2.3", masked_weight, 0.0, 0.0),
    Claim(
      "weights of a query add up to one: the largest difference", "§3.2.1",
      missing_from_one, 0.0, 1e-6,
    ),
    Claim(
      "embedded tokens over sinusoids, in size, with the factor sqrt(d_model)", "§3.4",
      partial(token_against_place, Tying()), 0.5, 2.0,
    ),
    Claim(
      "the same without the factor, at d_model 256", "§3.4",
      partial(token_against_place, Tying(scaled=False)), 0.5 / 16, 2.0 / 16,
    ),
    Claim(
      "parameters of eight heads of reduced width over those of one full head",
      "§3.2.2", partial(cost_of_heads, "parameters"), 1.0, 1.0,
    ),
    Claim(
      "FLOPs of the same", "§3.2.2: \"similar\"", partial(cost_of_heads, "flops"),
      1.0, 1.0,
    ),
    Claim(
      "two passes at inference: the largest difference", "§5.4",
      partial(drawn_apart, False), 0.0, 0.0,
    ),
    Claim(
      "two passes in training, dropout 0.2", "§5.4", partial(drawn_apart, True),
      least=0.1,
    ),
  )  # fmt: skip
  return Claims("Small exact facts", claims)
