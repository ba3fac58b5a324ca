"""BART (Lewis et al. 2020) and mBART (Liu et al. 2020; Tang et al. 2020 for mBART-50):
learned positions with two rows that are not used, a norm on the embeddings."""

import dataclasses
from typing import ClassVar

from transformer.interop.bart_layers import NORM, BartLayers
from transformer.interop.family import Origin
from transformer.interop.tensor_map import Entry, Same
from transformer.layers.positions import Learned
from transformer.layers.residual import PreNorm


@dataclasses.dataclass(frozen=True)
class Bart(BartLayers):
  """Post-norm; the decoder reads the token that ends a text first, and then the one
  that begins a text is forced."""

  architectures = ("BartForConditionalGeneration", "BartModel")
  tokenizers: ClassVar[tuple[str, ...]] = ("BartTokenizer",)
  embedding_norm = NORM

  def position(self, origin: Origin):
    return Learned(origin.size("max_position_embeddings", 1024), offset=2)

  def position_entries(self, theirs, ours):
    path = f"{ours}/position_encoding/position"
    yield Entry(f"{theirs}.embed_positions.weight", (path,), Same())


@dataclasses.dataclass(frozen=True)
class MBart(Bart):
  """Pre-norm; the token of a language is first on both sides."""

  architectures = ("MBartForConditionalGeneration", "MBartModel")
  tokenizers = ("MBart50Tokenizer", "MBartTokenizer")
  residual = PreNorm()
