"""One wrong bit anywhere changes a checksum; the layout on devices does not."""

import jax.numpy as jnp
import numpy as np
import pytest

from transformer.hashing import (
  CHUNK,
  checksum,
  checksums,
  device_checksums,
  finalise,
  index,
)


def test_the_finaliser_gives_murmurs_own_numbers():
  # fmix32 of 0, 1 and 2^32 - 1 by Python's unbounded integers.
  def fmix32(x):
    x = (x ^ (x >> 16)) * 0x85EBCA6B % 2**32
    x = (x ^ (x >> 13)) * 0xC2B2AE35 % 2**32
    return x ^ (x >> 16)

  for number in (0, 1, 77, 2**32 - 1):
    assert int(finalise(jnp.uint32(number))) == fmix32(number)


def test_the_index_is_row_major():
  np.testing.assert_array_equal(index((3, 2, 5)), np.arange(30).reshape(3, 2, 5))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8", "uint32", "bool"])
def test_every_wrong_bit_changes_the_checksum(dtype):
  rng = np.random.default_rng(0)
  array = jnp.asarray(rng.integers(0, 2, (3, 5)), dtype)
  before = checksums({"x": array, "y": array + array})
  assert set(before) == {"x", "y"} and len(before["x"]) == 16
  raw = np.asarray(array)
  if dtype == "bool":
    wrong = [raw ^ (np.arange(15).reshape(3, 5) == at) for at in range(15)]
  else:
    wrong = []
    for at in range(raw.nbytes):
      for bit in range(8):
        data = bytearray(raw.tobytes())
        data[at] ^= 1 << bit
        wrong.append(np.frombuffer(bytes(data), raw.dtype).reshape(3, 5))
  sums = [checksums({"x": jnp.asarray(one)})["x"] for one in wrong]
  assert before["x"] not in sums and len(set(sums)) == len(wrong)


def test_an_exchange_of_two_elements_changes_the_checksum():
  one, other = jnp.asarray([1.0, 2.0, 3.0]), jnp.asarray([2.0, 1.0, 3.0])
  assert checksums({"x": one}) != checksums({"x": other})


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8", "uint32", "bool"])
def test_the_host_computes_the_checksums_of_devices(dtype):
  rng = np.random.default_rng(0)
  for shape in ((), (0,), (3, 5, 7), (2, CHUNK + 3)):
    array = jnp.asarray(rng.integers(3, size=shape)).astype(dtype)
    expected = device_checksums({"x": array})
    assert checksums({"x": array}) == checksums({"x": np.asarray(array)}) == expected
  assert checksum(np.asarray(array)) != checksum(np.asarray(array[::-1]))
  assert checksum(np.asarray(array).T) != checksum(np.asarray(array))
