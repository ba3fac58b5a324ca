"""Packing: several examples in each row of a batch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

OPEN_ROWS = 64
"""Rows that are filled at a time."""

CHUNK = 1 << 16
"""Examples that one call of the compiled loop packs."""


def pack(lengths_n2: np.ndarray, length: int, open_rows: int = OPEN_ROWS) -> np.ndarray:
  """First fit over a window of open rows (Johnson 1974, bounded space): an example goes
  into the first open row that has room for it; where none has, the fullest row is done,
  and the example is the first of a new one.

  Returns:
    `[rows, m]`, int32: the examples of every row in order, -1 for none; the rows in the
    order in which they were done.
  """
  slot_n, is_first_n = _assign(lengths_n2, length, open_rows)
  # Examples by slot; each of a slot's rows begins with an example that is the first.
  order_n = np.argsort(slot_n, kind="stable")
  starts_n = is_first_n[order_n]
  starts_n[1:] |= np.diff(slot_n[order_n]) > 0
  starts_n[:1] = True
  start_r = np.flatnonzero(starts_n)
  size_r = np.diff(start_r, append=len(order_n))
  # A row is done when the next one begins in its slot; at the end, in order of slots.
  next_r = np.append(order_n[start_r], 0)[1:]
  slot_r = slot_n[order_n[start_r]].astype(np.int64)
  is_last_r = np.diff(slot_r, append=open_rows) > 0
  done_r = np.where(is_last_r, len(order_n) + slot_r, next_r)
  rank_r = np.empty(len(start_r), np.int32)
  rank_r[np.argsort(done_r)] = np.arange(len(start_r), dtype=np.int32)
  rows = np.full((len(start_r), size_r.max(initial=1)), -1, np.int32)
  column_n = np.arange(len(order_n)) - np.repeat(start_r, size_r)
  rows[np.repeat(rank_r, size_r), column_n] = order_n
  return rows


def _assign(
  lengths_n2: np.ndarray, length: int, open_rows: int
) -> tuple[np.ndarray, np.ndarray]:
  """The slot of every example's row among the open ones, and whether the example took
  the place of a row that was done, `[n]` each."""
  n, sides = lengths_n2.shape
  padded = np.zeros((max(1, -(-n // CHUNK)) * CHUNK, sides), np.int32)
  padded[:n] = lengths_n2
  parts = []
  with jax.default_device(_host()):
    room = jnp.full((sides, open_rows), length, jnp.int32)
    for start in range(0, len(padded), CHUNK):
      room, part = _first_fit(room, padded[start : start + CHUNK], length)
      parts.append(jax.device_get(part))
  slot_n, is_first_n = (np.concatenate(each)[:n] for each in zip(*parts, strict=True))
  return slot_n, is_first_n


def _host() -> jax.Device | None:
  """The processor, on which a loop of small steps is fast; the default device where JAX
  was told to leave the processor out."""
  try:
    return jax.local_devices(backend="cpu")[0]
  except RuntimeError:
    return None


@functools.partial(jax.jit, static_argnames="length")
def _first_fit(room, need_n2, length: int):
  """`room` is that of the open rows on each side, `[sides, open_rows]`."""
  slots = jnp.arange(room.shape[1])

  def place(room, need_s):
    fits = jnp.all(room >= need_s[:, None], axis=0)
    is_first = ~jnp.any(fits)
    fullest = jnp.argmin(jnp.sum(room, axis=0))
    slot = jnp.where(is_first, fullest, jnp.argmax(fits))
    chosen = (slots == slot)[None]
    room = jnp.where(chosen & is_first, length, room)
    return room - jnp.where(chosen, need_s[:, None], 0), (slot, is_first)

  # Steps are so small that the loop itself costs as much as they do.
  return jax.lax.scan(place, room, need_n2, unroll=4)
