"""Position schemes: `base` has the hooks, each other file one kind of scheme."""

from transformer.layers.positions.absolute import (
  Axial,
  ConcatenatedSinusoid,
  Learned,
  LearnedSinusoid,
  Sinusoid,
  Tensor2TensorSinusoid,
)
from transformer.layers.positions.base import Position, Relation
from transformer.layers.positions.distance import Alibi, T5Bias
from transformer.layers.positions.relative import Rope, Shaw, TransformerXLPosition

__all__ = [
  "Alibi",
  "Axial",
  "ConcatenatedSinusoid",
  "Learned",
  "LearnedSinusoid",
  "Position",
  "Relation",
  "Rope",
  "Shaw",
  "Sinusoid",
  "T5Bias",
  "Tensor2TensorSinusoid",
  "TransformerXLPosition",
]
