"""Absolute positions, added once to the embeddings."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from transformer.config import Natural
from transformer.layers.linear import weight
from transformer.layers.positions.base import Position, SinusoidBase


def waves(pos_bt, d: int, base: float):
  """Sines and cosines `[b, t, d/2]` of positions, in float32, with the angles
  pos / base^(2i/d) (§3.5).

  Raises:
    ValueError: `d` is odd.
  """
  check_even(d)
  rate = base ** (-jnp.arange(0, d, 2, dtype=jnp.float32) / d)
  angle = pos_bt[:, :, None].astype(jnp.float32) * rate[None, None, :]
  return jnp.sin(angle), jnp.cos(angle)


def check_even(d: int) -> None:
  """Raises ValueError if `d` is odd."""
  if d % 2:
    raise ValueError(
      f"position: expected an even width, for sines and cosines, got {d} (odd)"
    )


def interleave(even_btd, odd_btd):
  """`[b, t, d/2]` twice to `[b, t, d]`, channels taken in turn."""
  pairs = jnp.stack([even_btd, odd_btd], axis=-1)
  return pairs.reshape(*pairs.shape[:2], -1)


@dataclasses.dataclass(frozen=True)
class Sinusoid(Position):
  """Sines and cosines of geometric wavelengths, added to the embeddings (§3.5).

  PE(pos, 2i) = sin(pos / base^(2i/d)) and PE(pos, 2i+1) the cosine; no parameters,
  any length. `d` must be even.

  Attributes:
    base: the longest wavelength is 2π times this many positions.
  """

  base: SinusoidBase = 10000.0

  def embed(self, mod, x_btd, pos_bt):
    return x_btd + self.table(pos_bt, x_btd.shape[-1]).astype(x_btd.dtype)

  def table(self, pos_bt, d: int):
    """The vectors of positions, `[b, t, d]` in float32."""
    return interleave(*waves(pos_bt, d, self.base))


@dataclasses.dataclass(frozen=True)
class ConcatenatedSinusoid(Sinusoid):
  """The sinusoids of §3.5 with all sines before all cosines (Marian, Junczys-Dowmunt et
  al. 2018): the same vectors in another order of channels."""

  def table(self, pos_bt, d: int):
    return jnp.concatenate(waves(pos_bt, d, self.base), axis=-1)


@dataclasses.dataclass(frozen=True)
class Tensor2TensorSinusoid(Sinusoid):
  """All sines, then all cosines, of the angles (pos + offset) / base^(i / (d/2 - 1)),
  so that the last wavelength is exactly 2π base: `get_timing_signal_1d` of
  tensor2tensor, with `start_index` as `offset`; fairseq's, with an offset of 2.

  Attributes:
    offset: added to every position.
  """

  offset: Natural = 0

  def table(self, pos_bt, d: int):
    check_even(d)
    rate_i = self.base ** (-np.arange(d // 2) / max(d // 2 - 1, 1))
    position_bt1 = (pos_bt + self.offset)[:, :, None].astype(jnp.float32)
    angle_bti = position_bt1 * rate_i.astype(np.float32)[None, None, :]
    return jnp.concatenate([jnp.sin(angle_bti), jnp.cos(angle_bti)], axis=-1)


@dataclasses.dataclass(frozen=True)
class Learned(Position):
  """One learned vector for each position, added to the embeddings (Gehring et al. 2017,
  §3.1; row E of Vaswani et al. 2017, Table 3).

  Each stack has its own table, initialised from N(0, 1/d) like the paper's embeddings
  before scaling.

  Attributes:
    length: positions in the table; later ones share its last vector.
    offset: rows before them that are not used (BART has two, Lewis et al. 2020 in
      fairseq).
  """

  length: int = 1024
  offset: Natural = 0

  def __post_init__(self):
    if self.length < 1:
      raise ValueError(f"position: expected a length of 1 or more, got {self.length}")
    if self.offset < 0:
      raise ValueError(f"position: expected an offset of 0 or more, got {self.offset}")

  @property
  def table_length(self) -> int | None:
    return self.length

  def embed(self, mod, x_btd, pos_bt):
    d, rows = x_btd.shape[-1], self.length + self.offset
    table_td = weight(mod, "position", "td", (rows, d), self.initialiser(d))
    row_bt = jnp.minimum(pos_bt, self.length - 1) + self.offset
    return x_btd + jnp.take(table_td, row_bt, axis=0).astype(x_btd.dtype)

  def initialiser(self, d: int):
    """The initialiser of a table of width `d`."""
    return nn.initializers.normal(d**-0.5)


@dataclasses.dataclass(frozen=True)
class LearnedSinusoid(Learned):
  """A learned table, initialised to the sinusoids of §3.5.

  Attributes:
    base: that of the sinusoids.
  """

  base: SinusoidBase = 10000.0

  def initialiser(self, d: int):
    def init(key, shape, dtype=jnp.float32):
      sine, cosine = waves(jnp.arange(shape[0])[None] - self.offset, d, self.base)
      return interleave(sine, cosine)[0].astype(dtype)

    return init


@dataclasses.dataclass(frozen=True)
class Axial(Position):
  """A position as row and column of a grid: one learned vector for each row and one for
  each column, concatenated and added to the embeddings (Kitaev et al. 2020, axial
  position embeddings, after Ho et al. 2019).

  rows + columns vectors of half the width encode rows x columns positions; later ones
  share the last. With an odd width, columns have the larger half.

  Attributes:
    rows, columns: sides of the grid.
  """

  rows: int = 32
  columns: int = 32

  def __post_init__(self):
    if self.rows < 1 or self.columns < 1:
      raise ValueError(
        "position: expected 1 or more rows and columns, got "
        f"{self.rows} x {self.columns}"
      )

  @property
  def table_length(self) -> int | None:
    return self.rows * self.columns

  def embed(self, mod, x_btd, pos_bt):
    d = x_btd.shape[-1]
    clipped_bt = jnp.minimum(pos_bt, self.rows * self.columns - 1)
    parts = []
    for name, size, width, index_bt in (
      ("row", self.rows, d // 2, clipped_bt // self.columns),
      ("column", self.columns, d - d // 2, clipped_bt % self.columns),
    ):
      init = nn.initializers.normal(d**-0.5)
      table_td = weight(mod, name, "td", (size, width), init)
      parts.append(jnp.take(table_td, index_bt, axis=0))
    return x_btd + jnp.concatenate(parts, axis=-1).astype(x_btd.dtype)
