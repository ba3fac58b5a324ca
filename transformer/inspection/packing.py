"""Arrays as text inside a page.

All arrays of a page are one string: their bytes one after another, compressed (zlib,
RFC 1950, which browsers decompress by themselves) and in base64. An index says where
each array is and how its numbers are stored.
"""

import base64
import dataclasses
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Float32:
  """Numbers as they are."""

  def encode(self, array: np.ndarray) -> tuple[bytes, dict[str, Any]]:
    """Little-endian bytes, and how to read them."""
    return array.astype("<f4").tobytes(), {"kind": "float32"}


@dataclasses.dataclass(frozen=True)
class FixedPoint(Float32):
  """Numbers rounded to `bits` bits, the sign included: multiples of the largest
  magnitude / (2^(bits - 1) - 1). The lowest bytes of all numbers come first, then the
  next, because similar bytes compress better."""

  bits: int = 16

  def encode(self, array: np.ndarray) -> tuple[bytes, dict[str, Any]]:
    largest = float(np.max(np.abs(array), initial=0.0)) or 1.0
    step, size = largest / (2 ** (self.bits - 1) - 1), -(-self.bits // 8)
    rounded = np.rint(array.astype(np.float64) / step).astype("<i4")
    planes = rounded.reshape(-1, 1).view(np.uint8)[:, :size]
    how = {"kind": "fixed", "size": size, "step": step}
    return np.ascontiguousarray(planes.T).tobytes(), how


Encodings = tuple[Float32, Float32]
"""Of attention weights, and of queries, keys and biases."""

ENCODINGS: Sequence[Encodings] = (
  (Float32(), Float32()),
  (Float32(), FixedPoint(16)),
  (FixedPoint(21), FixedPoint(7)),
)
"""From exact to small. No weight is rounded by more than 5e-7."""

LIMIT = 1_900_000
"""Characters up to which numbers are exact; beyond, they are stored in fewer bits."""


def pack(
  weights: Mapping[str, np.ndarray], others: Mapping[str, np.ndarray]
) -> dict[str, Any]:
  """Arrays by name as `{"index": {name: …}, "data": text}`, in the most exact encoding
  within `LIMIT` characters, or else the smallest.

  Args:
    weights: arrays with numbers from 0 to 1.
    others: arrays with any finite numbers.
  """
  for of_weights, of_others in ENCODINGS:
    index, parts, offset = {}, [], 0
    for arrays, encoding in ((weights, of_weights), (others, of_others)):
      for name, array in arrays.items():
        part, how = encoding.encode(array)
        index[name] = {**how, "offset": offset, "shape": array.shape}
        parts.append(part)
        offset += len(part)
    data = base64.b64encode(zlib.compress(b"".join(parts), 9)).decode()
    if len(data) <= LIMIT:
      break
  return {"index": index, "data": data}
