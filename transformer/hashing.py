"""Hashes of arrays, the same under every sharding and on the host."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

CHUNK = 1 << 15
"""Elements that are hashed at a time on the host: few enough for the processor's
cache."""


def finalise(x):
  """The finaliser `fmix32` of MurmurHash3 (Appleby 2011, public domain) on uint32: a
  bijection in which every input bit flips every output bit with a probability near one
  half. Of JAX or NumPy."""
  x = (x ^ (x >> 16)) * np.uint32(0x85EBCA6B)
  x = (x ^ (x >> 13)) * np.uint32(0xC2B2AE35)
  return x ^ (x >> 16)


def index(shape: tuple[int, ...]):
  """The row-major index of every element, uint32; wraps after 2^32 elements."""
  stride, found = 1, jnp.zeros(shape, jnp.uint32)
  for axis in reversed(range(len(shape))):
    place = jax.lax.broadcasted_iota(jnp.uint32, shape, axis)
    found = found + place * jnp.uint32(stride % 2**32)
    stride *= shape[axis]
  return found


def checksums(leaves: Mapping[str, Any]) -> dict[str, str]:
  """64 bits of every array by its name, as 16 hexadecimal digits.

  The sum, modulo 2^32 and so in any order, of a hash of each element's bits and place,
  taken twice. One wrong bit always changes it. Found where the arrays live: those in
  this process' memory on the host, others on their devices, shard by shard, so that
  every process must call it. Arrays have 1, 2 or 4 bytes an element.
  """
  here = {name for name, leaf in leaves.items() if _in_host_memory(leaf)}
  found = {name: checksum(np.asarray(leaves[name])) for name in here}
  elsewhere = {name: leaf for name, leaf in leaves.items() if name not in here}
  found |= device_checksums(elsewhere)
  return {name: found[name] for name in leaves}


def device_checksums(leaves: Mapping[str, jax.Array]) -> dict[str, str]:
  """`checksums`, computed on the arrays' devices."""
  found = jax.device_get(_sums(dict(leaves))) if leaves else {}
  return {name: _hexadecimal(a, b) for name, (a, b) in found.items()}


def checksum(array: np.ndarray) -> str:
  """What `checksums` has for one array, computed on the host; compiles nothing, and
  takes no memory to speak of."""
  flat = np.ascontiguousarray(array).reshape(-1)
  bits = flat.view(f"uint{8 * flat.dtype.itemsize}")
  one = other = 0
  for start in range(0, len(bits), CHUNK):
    chunk = bits[start : start + CHUNK].astype(np.uint32)
    place = finalise(np.arange(start + 1, start + 1 + len(chunk)).astype(np.uint32))
    one += int(np.sum(finalise(chunk ^ place), dtype=np.uint32))
    other += int(np.sum(finalise(chunk + place), dtype=np.uint32))
  return _hexadecimal(one % 2**32, other % 2**32)


def _in_host_memory(leaf: Any) -> bool:
  """Whether NumPy reads an array without a copy."""
  if not isinstance(leaf, jax.Array):
    return True
  devices: set[Any] = leaf.sharding.device_set
  return len(devices) == 1 and all(device.platform == "cpu" for device in devices)


def _hexadecimal(one, other) -> str:
  return f"{int(one):08x}{int(other):08x}"


@jax.jit
def _sums(leaves):
  return {name: _sum(leaf) for name, leaf in leaves.items()}


def _sum(x):
  x = jnp.asarray(x)
  if jnp.issubdtype(x.dtype, jnp.bool_):
    x = x.astype(jnp.uint8)
  width = np.dtype(f"uint{8 * x.dtype.itemsize}")
  bits = jax.lax.bitcast_convert_type(x, width).astype(jnp.uint32)
  place = finalise(index(x.shape) + jnp.uint32(1))
  one = jnp.sum(finalise(bits ^ place), dtype=jnp.uint32)
  other = jnp.sum(finalise(bits + place), dtype=jnp.uint32)
  return one, other
