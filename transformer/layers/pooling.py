"""One vector for each text, from the vectors of its tokens."""

import dataclasses

import jax.numpy as jnp

from transformer.batch import Tokens


@dataclasses.dataclass(frozen=True)
class Pooling:
  """The mean over a text's tokens, special ones included and padding not (Reimers and
  Gurevych 2019, §3)."""

  def __call__(self, x_btd, tokens: Tokens, examples: int = 1):
    """The vectors of the texts of every row, `[b, e, d]` in float32, zeros where a row
    has fewer than `examples`, and which of them are real, `[b, e]`."""
    number_e = jnp.arange(1, examples + 1)
    own_bet = tokens.seg_bt[:, None, :] == number_e[None, :, None]
    own_bet &= self.selects(tokens)[:, None, :]
    weight_bet = own_bet.astype(jnp.float32)
    count_be1 = jnp.sum(weight_bet, axis=-1, keepdims=True)
    sum_bed = jnp.einsum("bet,btd->bed", weight_bet, x_btd.astype(jnp.float32))
    return sum_bed / jnp.maximum(count_be1, 1.0), count_be1[:, :, 0] > 0

  def selects(self, tokens: Tokens):
    """Which tokens the vector is made of, `[b, t]`."""
    return jnp.ones_like(tokens.pos_bt, bool)


@dataclasses.dataclass(frozen=True)
class FirstToken(Pooling):
  """The vector of the first token, BERT's [CLS] (Devlin et al. 2019, §3)."""

  def selects(self, tokens: Tokens):
    return tokens.pos_bt == 0


def unit_length(x_nd):
  """Vectors divided by their lengths; zeros stay zeros."""
  length_n1 = jnp.linalg.norm(x_nd, axis=-1, keepdims=True)
  return x_nd / jnp.maximum(length_n1, 1e-12)
