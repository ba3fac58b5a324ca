"""M2M-100 (Fan et al. 2021) and NLLB-200 (NLLB Team 2022): pre-norm, computed
positions, the token of a language first on both sides."""

import dataclasses
import functools

import numpy as np

from transformer.interop.bart_layers import BartLayers
from transformer.interop.family import Origin
from transformer.interop.tensor_map import Shape
from transformer.layers.positions import Tensor2TensorSinusoid
from transformer.layers.residual import PreNorm


@dataclasses.dataclass(frozen=True)
class M2M100(BartLayers):
  """fairseq's sinusoids, which begin after the id of padding; the decoder reads the
  token that ends a text first."""

  architectures = ("M2M100ForConditionalGeneration", "M2M100Model")
  tokenizers = ("NllbTokenizer", "M2M100Tokenizer")
  residual = PreNorm()
  default_activation = "relu"
  default_scaled = True

  def position(self, origin: Origin):
    return Tensor2TensorSinusoid(offset=(origin.token("pad_token_id") or 0) + 1)

  def position_constants(self, origin, model):
    values = functools.partial(position_table, model.position)
    return {
      f"{stack}.embed_positions.{name}": values
      for stack in ("encoder", "decoder")
      for name in ("weights", "weight")
    }


def position_table(position: Tensor2TensorSinusoid, shape: Shape) -> np.ndarray:
  """The table of positions of the shape `[t, d]`, its row of padding zero."""
  rows, width = shape
  table_td = np.array(position.table(np.arange(rows)[None] - position.offset, width)[0])
  table_td[position.offset - 1] = 0.0
  return table_td
