"""Recurrent layers: cells are recipes, and a layer runs one along rows of examples.

A row may hold several examples: the state is reset at the beginning of each, so none
depends on the examples before it. Here `g` is the axis of a cell's gates, and `k` is
`f` where a state is an input.
"""

import dataclasses
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from transformer.config import Range
from transformer.layers.linear import glorot, weight
from transformer.layers.masks import same_segment

State = tuple[Any, ...]
"""The state of a cell: arrays `[…, f]` in float32, its output first."""


@dataclasses.dataclass(frozen=True)
class Cell:
  """The simple recurrent network, h' = tanh(W x + b + U h) (Elman 1990).

  A cell has `gates` blocks of weights, and its state has `parts` arrays.
  """

  gates: ClassVar[int] = 1
  parts: ClassVar[int] = 1

  def __call__(self, u_kgf, x_gf, state: State) -> State:
    """The state after one token.

    Args:
      u_kgf: the recurrent weights, `[k, g, f]`.
      x_gf: W x + b of every gate, `[…, g, f]`.
      state: before the token.
    """
    return (jnp.tanh(x_gf + recur(state[0], u_kgf, x_gf.dtype))[..., 0, :],)


@dataclasses.dataclass(frozen=True)
class GRU(Cell):
  """Gated recurrent unit (Cho et al. 2014; Bahdanau et al. 2015, A.1.1).

  z and r are sigmoids, h~ = tanh(W x + U (r h)), h' = (1 - z) h + z h~.
  """

  gates: ClassVar[int] = 3

  def __call__(self, u_kgf, x_gf, state: State) -> State:
    (h,) = state
    gate = jax.nn.sigmoid(x_gf[..., :2, :] + recur(h, u_kgf[:, :2], x_gf.dtype))
    z, r = gate[..., 0, :], gate[..., 1, :]
    new = jnp.tanh(x_gf[..., 2:, :] + recur(r * h, u_kgf[:, 2:], x_gf.dtype))
    return ((1.0 - z) * h + z * new[..., 0, :],)


@dataclasses.dataclass(frozen=True)
class LSTM(Cell):
  """Long short-term memory with a forget gate (Hochreiter and Schmidhuber 1997; Gers et
  al. 2000), without peepholes.

  i, f and o are sigmoids, c' = f c + i tanh(W x + U h + b), h' = o tanh(c').

  Attributes:
    forget: added to the input of f, so that little is forgotten at first (Jozefowicz
      et al. 2015).
  """

  gates: ClassVar[int] = 4
  parts: ClassVar[int] = 2
  forget: Annotated[float, Range(-100, 100)] = 1.0

  def __call__(self, u_kgf, x_gf, state: State) -> State:
    h, c = state
    sum_gf = x_gf + recur(h, u_kgf, x_gf.dtype)
    i = jax.nn.sigmoid(sum_gf[..., 0, :])
    f = jax.nn.sigmoid(sum_gf[..., 1, :] + self.forget)
    o = jax.nn.sigmoid(sum_gf[..., 2, :])
    c = f * c + i * jnp.tanh(sum_gf[..., 3, :])
    return o * jnp.tanh(c), c


def recur(h, u_kgf, dtype):
  """U h of every gate, `[…, g, f]` in float32, multiplied in `dtype`."""
  return jnp.einsum(
    "...k,kgf->...gf",
    h.astype(dtype),
    u_kgf.astype(dtype),
    preferred_element_type=jnp.float32,
  )


class RecurrentLayer(nn.Module):
  """One cell of width `f` over tokens of width `d`."""

  cell: Cell
  d: int
  f: int

  def setup(self):
    g = self.cell.gates
    input_init, recurrent_init = glorot(self.d, self.f), orthogonal
    self.w_dgf = weight(self, "w", "dgf", (self.d, g, self.f), input_init, inputs="d")
    self.u_kgf = weight(
      self, "u", "kgf", (self.f, g, self.f), recurrent_init, inputs="k"
    )
    self.b_gf = weight(self, "b", "gf", (g, self.f), nn.initializers.zeros)

  def inputs(self, x_btd):
    """W x + b of every token and gate, `[b, t, g, f]`."""
    x_btgf = jnp.einsum("btd,dgf->btgf", x_btd, self.w_dgf.astype(x_btd.dtype))
    return x_btgf + self.b_gf[None, None].astype(x_btd.dtype)

  def __call__(self, x_btd, start_bt, initial: State | None = None, reverse=False):
    """The state after every token, `parts` arrays `[b, t, f]`.

    Args:
      x_btd: the tokens.
      start_bt: True where an example begins, from `begins` with the same `reverse`.
      initial: the initial state of each example, `[b, t, f]`, read at its first token;
        None for zeros.
      reverse: reads from right to left.
    """
    x_btgf = self.inputs(x_btd)

    def advance(state, now):
      x_bgf, start_b, initial = now
      state = self.cell(self.u_kgf, x_bgf, restart(start_b, initial, state))
      return state, state

    b, t, _ = x_btd.shape
    initial = self.zeros(b, t) if initial is None else initial
    return along_time(advance, self.zeros(b), (x_btgf, start_bt, initial), reverse)

  def step(self, x_bwd, state: State) -> State:
    """The state of every hypothesis, `[b, w, f]`, after one more token."""
    return self.cell(self.u_kgf, self.inputs(x_bwd), state)

  def zeros(self, *shape: int) -> State:
    """A state of zeros, `[…, f]`."""
    return (jnp.zeros((*shape, self.f), jnp.float32),) * self.cell.parts


def along_time(advance, state, scanned, reverse: bool = False):
  """`advance(state, now) -> (state, out)` over axis 1 of the arrays in `scanned`; the
  outputs are stacked along axis 1 in the order of the inputs, also with `reverse`."""
  scanned = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 1, 0), scanned)
  _, outs = jax.lax.scan(advance, state, scanned, reverse=reverse)
  return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, 1), outs)


def restart(start_b, initial: State, state: State) -> State:
  """`initial` where an example begins, else `state`; both `[b, …, f]`."""

  def choose(new, old):
    return jnp.where(start_b.reshape(-1, *(1,) * (old.ndim - 1)), new, old)

  return jax.tree.map(choose, initial, state)


def begins(seg_bt, reverse: bool = False):
  """`[b, t]`: True at the first token of every example in the direction of reading;
  `begins(seg_bt, not reverse)` is True at its last."""
  edge = jnp.arange(seg_bt.shape[1]) == (seg_bt.shape[1] - 1 if reverse else 0)
  before_bt = jnp.roll(seg_bt, -1 if reverse else 1, axis=1)
  return edge[None, :] | (seg_bt != before_bt)


def last_read(seg_bt, source_seg_bs, reverse: bool = False):
  """For each target token, the index in the source row of the token that is read last
  of the same example; `[b, t]`."""
  last_bs = begins(source_seg_bs, not reverse)
  match_bts = same_segment(seg_bt, source_seg_bs) & last_bs[:, None, :]
  return jnp.argmax(match_bts, axis=-1)


def pick(state: State, index_bt) -> State:
  """The entries of arrays `[b, s, f]` at `index_bt`; `[b, t, f]`."""
  return jax.tree.map(
    lambda leaf: jnp.take_along_axis(leaf, index_bt[:, :, None], axis=1), state
  )


def orthogonal(key, shape: tuple[int, ...], dtype=jnp.float32):
  """A random orthogonal matrix for every gate (Saxe et al. 2014) of `[k, g, f]`."""
  k, g, f = shape
  matrix = nn.initializers.orthogonal()
  each = [matrix(gate, (k, f), dtype) for gate in jax.random.split(key, g)]
  return jnp.stack(each, axis=1)
