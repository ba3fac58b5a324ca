"""The fixtures of imported encoder-decoders, read."""

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from transformer.batch import PAD, Pairs, Tokens
from transformer.data.id_order import IdOrder
from transformer.interop.families import family_of
from transformer.interop.hf_directory import HFDirectory
from transformer.interop.weights import import_params, origin_of

FIXTURES = Path(__file__).with_name("fixtures")


class Fixture:
  """A fixture, imported."""

  def __init__(self, name: str):
    self.path = FIXTURES / name
    self.directory = HFDirectory(self.path)
    self.origin = origin_of(self.directory)
    self.family = family_of(self.directory.config)
    self.order: IdOrder = self.family.order(self.origin)
    self.model = self.family.model(self.origin, self.order)
    self.imported = import_params(self.directory, self.family, self.model, self.order)
    self.expected = load_file(self.path / "expected.safetensors")

  @property
  def batch(self) -> Pairs:
    """The inputs in our order; targets without the token that the decoder reads first,
    and one of no consequence at the end."""
    mask_bs, mask_bt = self.expected["attention_mask"], self.expected["decoder_mask"]
    target_bt = np.roll(self.expected["decoder_input_ids"], -1, axis=1)
    return Pairs(
      self.tokens(self.expected["input_ids"], mask_bs), self.tokens(target_bt, mask_bt)
    )

  def tokens(self, id_bt, mask_bt) -> Tokens:
    """Their ids as rows of ours."""
    id_bt = np.where(mask_bt > 0, self.order.ours[id_bt], PAD)
    pos_bt = np.where(mask_bt > 0, np.arange(mask_bt.shape[1]), 0)
    return Tokens(*(x.astype(np.int32) for x in (id_bt, pos_bt, mask_bt)))
