"""Position biases: numbers added to the scores that depend on the distance alone,
computed once and shared by all layers of a stack."""

import dataclasses
import math

import jax.numpy as jnp

from transformer.layers.linear import glorot, weight
from transformer.layers.positions.base import Position


def distance(q_pos_bt, k_pos_bs):
  """Position of the query minus position of the key, `[b, t, s]`."""
  return q_pos_bt[:, :, None] - k_pos_bs[:, None, :]


@dataclasses.dataclass(frozen=True)
class Alibi(Position):
  """Linear distance penalty, one slope per head (Press et al. 2022, §3); no parameters.

  Slopes are 2^(-8/n), 2^(-16/n), … for n heads, for any n. The paper's models are
  causal; where a query also attends to later keys, as in an encoder, the penalty is
  symmetric, slope x |distance|.
  """

  def bias(self, mod, heads, q_pos_bt, k_pos_bs, causal):
    slope_h = 2.0 ** (-8.0 * jnp.arange(1, heads + 1, dtype=jnp.float32) / heads)
    gap_bts = jnp.abs(distance(q_pos_bt, k_pos_bs)).astype(jnp.float32)
    return -slope_h[None, :, None, None] * gap_bts[:, None]


@dataclasses.dataclass(frozen=True)
class T5Bias(Position):
  """A learned number per head and bucket of distances (Raffel et al. 2020, §2.1).

  Near distances have a bucket each; farther ones share buckets whose edges grow
  geometrically up to `farthest`, beyond which all share the last. In a stack that is
  not causal, half of the buckets are for later keys.

  Attributes:
    buckets: how many numbers a head has.
    farthest: the distance from which all share the last bucket.
  """

  buckets: int = 32
  farthest: int = 128

  def __post_init__(self):
    if self.buckets < 4 or self.buckets % 4:
      raise ValueError(
        f"position: expected buckets to be a positive multiple of 4, got {self.buckets}"
      )
    if self.farthest <= self.buckets // 2:
      raise ValueError(
        f"position: expected farthest above {self.buckets // 2}, the near distances of "
        f"a causal stack (buckets / 2), got {self.farthest}"
      )

  def bias(self, mod, heads, q_pos_bt, k_pos_bs, causal):
    init = glorot(self.buckets, heads)
    table_rh = weight(mod, "table", "rh", (self.buckets, heads), init)
    back_bts = distance(q_pos_bt, k_pos_bs)
    if causal:
      bucket_bts = self.bucket(jnp.maximum(back_bts, 0), self.buckets)
    else:
      half = self.buckets // 2
      ahead_bts = jnp.where(back_bts < 0, half, 0)
      bucket_bts = self.bucket(jnp.abs(back_bts), half) + ahead_bts
    return jnp.moveaxis(jnp.take(table_rh, bucket_bts, axis=0), -1, 1)

  def bucket(self, gap_bts, count: int):
    """Which of `count` buckets each distance >= 0 falls into: bucket i begins at i, and
    from count/2 on at count/2 · (2 · farthest / count)^(2i/count - 1)."""
    near = count // 2
    growth = (self.farthest / near) ** (1.0 / (count - near))
    # Rounded up to whole distances; exact powers must survive rounding errors.
    edges = [*range(1, near + 1)]
    edges += [math.ceil(near * growth**i - 1e-9) for i in range(1, count - near)]
    return jnp.searchsorted(jnp.asarray(edges), gap_bts, side="right")
