"""Texts that are longer than those of training, and what is said of them."""

import sys
from collections.abc import Sequence

import numpy as np
import tqdm

from transformer.experiment import Config

FAR = 2
"""Where positions are computed, texts up to so many times as long as in training pass
without a warning."""


def training_length(config: Config) -> int:
  """The longest text of training, in tokens, `EOS` included; longer ones are left
  out."""
  shapes = config.batching.shapes
  return max(max(shape.source, shape.target) for shape in shapes)


def position_notes(config: Config) -> list[str]:
  """What to know of positions before training."""
  table, longest = config.model.position_table_length, training_length(config)
  if table is None or table >= longest:
    return []
  return [
    f"a text may have {longest:,} tokens (--config.batching), but the model has "
    f"vectors for {table:,} positions: later ones share the last"
  ]


class LengthWarning:
  """Warns once, on stderr, of a text far longer than those of training."""

  def __init__(self, config: Config):
    """For a run of this config."""
    longest, table = training_length(config), config.model.position_table_length
    # A vector of the table beyond the texts of training is as it was initialised.
    self._limit = FAR * longest if table is None else min(longest, table)
    self._reason = (
      f"in training none had more than {longest:,}"
      if table is None or longest <= table
      else f"the model has vectors for {table:,} positions alone"
    )
    self._printed = False

  def check(self, texts: Sequence[np.ndarray]) -> None:
    """Prints the warning if one of these tokenised texts is too long."""
    longest = max(map(len, texts), default=0)
    if longest <= self._limit or self._printed:
      return
    self._printed = True
    tqdm.tqdm.write(
      f"warning: a text has {longest:,} tokens, but {self._reason}; expect poor "
      "output, and divide such texts",
      file=sys.stderr,
    )
