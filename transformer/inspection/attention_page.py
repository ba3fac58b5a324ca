"""A page that shows attention: every head, one token at a time, and inside a head."""

import io
import json
from typing import Any

import numpy as np

from transformer.inspection.attention import Attention
from transformer.inspection.packing import pack
from transformer.inspection.page import assemble, picture_url

WEIGHTS = ("weights_lhts", "mean_lts", "rollout_lts")
"""The arrays of an `AttentionMap` with numbers from 0 to 1."""


def page(found: Attention) -> str:
  """One HTML file without any other, under 2 MB for 12 layers of 8 heads and 30 tokens.
  Weights in it are within 5e-7 of the arrays; of large models, queries and keys are
  rounded (`inspection.packing`), which the page says."""
  named = {
    f"{each.name}/{field}": array
    for each in found.maps
    for field, array in each.arrays.items()
  }
  is_weights = {name: name.rpartition("/")[2] in WEIGHTS for name in named}
  data: dict[str, Any] = {
    "run": found.run,
    "model": found.model,
    "text": found.text,
    "output": found.output,
    "maps": [
      {
        "name": each.name,
        "title": each.title,
        "queries": each.queries,
        "keys": each.keys,
        "scale": each.scale,
      }
      for each in found.maps
    ],
    "arrays": pack(
      {name: array for name, array in named.items() if is_weights[name]},
      {name: array for name, array in named.items() if not is_weights[name]},
    ),
    "image": None if found.image_yxc is None else picture_url(found.image_yxc),
  }
  return assemble("attention", f"Attention of {found.run}", data)


def as_json(found: Attention) -> str:
  """Everything as one JSON object, arrays as nested lists."""
  record = {
    "run": found.run,
    "model": found.model,
    "text": found.text,
    "output": found.output,
    "attention": {
      each.name: {
        "queries": each.queries,
        "keys": each.keys,
        "scale": each.scale,
        **{field: array.tolist() for field, array in each.arrays.items()},
      }
      for each in found.maps
    },
  }
  return json.dumps(record, ensure_ascii=False)


def as_npz(found: Attention) -> bytes:
  """Arrays by names such as `decoder/source_attention/weights_lhts`, and the tokens as
  `decoder/source_attention/queries` and `keys`, for `numpy.load`."""
  arrays: dict[str, Any] = {}
  for each in found.maps:
    named = {**each.arrays, "queries": each.queries, "keys": each.keys}
    arrays |= {
      f"{each.name}/{field}": np.array(value) for field, value in named.items()
    }
  buffer = io.BytesIO()
  np.savez_compressed(buffer, **arrays)
  return buffer.getvalue()
