"""Relative positions that act on the queries and keys of every layer."""

import dataclasses

import jax.numpy as jnp
from flax import linen as nn

from transformer.layers.linear import glorot, weight
from transformer.layers.positions.absolute import waves
from transformer.layers.positions.base import Position, Relation, SinusoidBase
from transformer.layers.positions.distance import distance


@dataclasses.dataclass(frozen=True)
class Rope(Position):
  """Queries and keys rotated by angles proportional to their position, so that q·k
  depends on the distance (Su et al. 2021, §3.2.2, eq. 34); no parameters.

  Channels 2i and 2i+1 of a head are one plane, rotated by pos / base^(2i/k). `k` must
  be even.

  Attributes:
    base: the slowest plane turns once in nearly 2π times this many positions.
  """

  base: SinusoidBase = 10000.0

  def rotate(self, x_bthk, pos_bt):
    sine, cosine = waves(pos_bt, x_bthk.shape[-1], self.base)
    sine, cosine = sine[:, :, None, :], cosine[:, :, None, :]
    x, y = (x_bthk[..., i::2].astype(jnp.float32) for i in (0, 1))
    rotated = jnp.stack([x * cosine - y * sine, x * sine + y * cosine], axis=-1)
    return rotated.reshape(x_bthk.shape).astype(x_bthk.dtype)


@dataclasses.dataclass(frozen=True)
class Shaw(Position):
  """A learned vector for each distance, added to the keys and to the values (Shaw et
  al. 2018, eq. 3 and 4).

  Distances beyond `clip` in either direction share the vectors of `clip`. The vectors
  are shared by the heads of a layer (§3.3) and each layer has its own. Their term is
  scaled by 1/sqrt(d_k) with every score recipe. The term of the values takes b·t·s·k
  numbers.

  Attributes:
    clip: the largest distance with a vector of its own.
  """

  clip: int = 16

  def __post_init__(self):
    if self.clip < 1:
      raise ValueError(f"position: expected a clip of 1 or more, got {self.clip}")

  def relate(self, mod, q_bthk, k_bshk, v_bshk, q_pos_bt, k_pos_bs):
    ahead_bts = -distance(q_pos_bt, k_pos_bs)
    index_bts = jnp.clip(ahead_bts, -self.clip, self.clip) + self.clip

    def table(name, width):
      size = 2 * self.clip + 1
      table_rk = weight(mod, name, "rk", (size, width), glorot(size, width))
      return table_rk.astype(q_bthk.dtype)

    k = q_bthk.shape[-1]
    scores_bhtr = jnp.einsum(
      "bthk,rk->bhtr", q_bthk, table("relative_k", k),
      preferred_element_type=jnp.float32,
    )  # fmt: skip
    bias_bhts = jnp.take_along_axis(scores_bhtr, index_bts[:, None], axis=-1)
    value_btsk = jnp.take(table("relative_v", v_bshk.shape[-1]), index_bts, axis=0)
    return Relation(bias_bhts * k**-0.5, value_btsk)


@dataclasses.dataclass(frozen=True)
class TransformerXLPosition(Position):
  """Scores of content and of distance, each with a bias of its own instead of the
  query's position (Dai et al. 2019, §3.3).

  (q + u)·k + (q + v)·W_R R(distance), all over sqrt(d_k); R are the sinusoids of
  §3.5 at the distance, W_R, u and v belong to each layer and head. R has as many
  channels as all heads together, d_model where heads have reduced width.

  Attributes:
    base: that of the sinusoids.
  """

  base: SinusoidBase = 10000.0

  def relate(self, mod, q_bthk, k_bshk, v_bshk, q_pos_bt, k_pos_bs):
    h, k = q_bthk.shape[2:]
    d = h * k
    w_rhk = weight(mod, "relative", "rhk", (d, h, k), glorot(d, d), inputs="r")
    u_hk, v_hk = (
      weight(mod, name, "hk", (h, k), nn.initializers.zeros).astype(q_bthk.dtype)
      for name in ("content_bias", "distance_bias")
    )
    content_bhs = jnp.einsum(
      "hk,bshk->bhs", u_hk, k_bshk, preferred_element_type=jnp.float32
    )
    # sin(i - j) and cos(i - j) by the addition theorems: the query's coefficients of
    # each wave are rotated to its position i and multiplied with the waves at j. No
    # table of distances is needed, and positions may be any.
    p_bthr = jnp.einsum(
      "bthk,rhk->bthr", q_bthk + v_hk[None, None], w_rhk.astype(q_bthk.dtype),
      preferred_element_type=jnp.float32,
    )  # fmt: skip
    of_sine, of_cosine = jnp.split(p_bthr, 2, axis=-1)
    sine, cosine = (x[:, :, None, :] for x in waves(q_pos_bt, d, self.base))
    rotated_bthd = jnp.concatenate(
      [of_cosine * sine - of_sine * cosine, of_sine * sine + of_cosine * cosine],
      axis=-1,
    )
    wave_bsd = jnp.concatenate(waves(k_pos_bs, d, self.base), axis=-1)
    bias_bhts = jnp.einsum("bthd,bsd->bhts", rotated_bthd, wave_bsd)
    return Relation((bias_bhts + content_bhs[:, :, None, :]) * k**-0.5)
