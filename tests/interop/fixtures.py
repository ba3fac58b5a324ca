"""The fixtures of imported encoder-decoders, read."""

import json
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from transformer.batch import PAD, Pairs, Tokens
from transformer.data.id_order import IdOrder
from transformer.interop.families import family_of
from transformer.interop.hf_directory import HFDirectory
from transformer.interop.weights import import_params, origin_of

FIXTURES = Path(__file__).with_name("fixtures")
TOKENIZERS = Path(__file__).parent.parent / "data" / "tokenizers"


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


def write_directory(path: Path, name: str, tokenizer: str, **settings) -> None:
  """A fixture's directory with the files of a tokenizer, its vocabulary as large as
  that; `settings` replace those of config.json."""
  path.mkdir(parents=True)
  config = json.loads((FIXTURES / name / "config.json").read_text()) | settings
  size = config["vocab_size"]
  (path / "config.json").write_text(json.dumps(config))
  tensors = load_file(FIXTURES / name / "model.safetensors")
  table_vd = np.random.default_rng(0).normal(size=(size, config["d_model"]))
  tensors["model.shared.weight"] = table_vd.astype(np.float32)
  if "final_logits_bias" in tensors:
    tensors["final_logits_bias"] = np.zeros((1, size), np.float32)
  save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
  for source in (TOKENIZERS / tokenizer).iterdir():
    if source.suffix != ".npz":
      shutil.copy(source, path)


def write_marian(path: Path) -> None:
  """A small directory of MarianMT with its tokenizer."""
  ids = json.loads((TOKENIZERS / "marian" / "vocab.json").read_text())
  size, pad = max(ids.values()) + 1, ids["<pad>"]
  write_directory(
    path, "marian", "marian", vocab_size=size, decoder_vocab_size=size,
    pad_token_id=pad, decoder_start_token_id=pad, eos_token_id=ids["</s>"],
  )  # fmt: skip


def write_nllb(path: Path) -> None:
  """A small directory of NLLB with its tokenizer."""
  write_directory(path, "m2m", "nllb_saved", vocab_size=700)
