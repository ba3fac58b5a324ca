"""MarianMT, the models of OPUS-MT (Junczys-Dowmunt et al. 2018; Tiedemann and
Thottingal 2020): post-norm, computed positions, a bias on the logits."""

import dataclasses
import functools
from typing import ClassVar

import numpy as np

from transformer.interop.bart_layers import BartLayers
from transformer.interop.tensor_map import Shape
from transformer.layers.positions import ConcatenatedSinusoid


@dataclasses.dataclass(frozen=True)
class Marian(BartLayers):
  """Sines before cosines; the decoder reads the token of padding first."""

  architectures = ("MarianMTModel",)
  tokenizers = ("MarianTokenizer",)
  unk_id: ClassVar[int] = 1

  def position(self, origin):
    return ConcatenatedSinusoid()

  def position_constants(self, origin, model):
    values = functools.partial(position_table, model.position)
    return {
      f"{stack}.embed_positions.weight": values for stack in ("encoder", "decoder")
    }


def position_table(position: ConcatenatedSinusoid, shape: Shape) -> np.ndarray:
  """The table of positions of the shape `[t, d]`."""
  rows, width = shape
  return np.asarray(position.table(np.arange(rows)[None], width)[0])
