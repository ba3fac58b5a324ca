"""The fixtures of imported models, read."""

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
  config = json.loads((FIXTURES / name / "config.json").read_text())
  old, size = config["vocab_size"], settings["vocab_size"]
  (path / "config.json").write_text(json.dumps(config | settings))
  tensors = load_file(FIXTURES / name / "model.safetensors")
  generator = np.random.default_rng(0)
  for tensor, values in tensors.items():
    if old in values.shape:  # sizes are pairwise different
      shape = [size if n == old else n for n in values.shape]
      tensors[tensor] = generator.normal(size=shape).astype(np.float32)
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


def write_t5(path: Path) -> None:
  """A small directory of Flan-T5 with its tokenizer, its vocabulary rounded up."""
  write_directory(path, "flan_t5", "t5_saved", vocab_size=700)


def write_gpt2(path: Path) -> None:
  """A small directory of GPT-2 with its tokenizer."""
  ids = json.loads((TOKENIZERS / "gpt2" / "vocab.json").read_text(encoding="utf-8"))
  eos, size = ids["<|endoftext|>"], max(ids.values()) + 1
  write_directory(
    path, "gpt2", "gpt2", vocab_size=size, bos_token_id=eos, eos_token_id=eos
  )


def write_classifier(path: Path) -> None:
  """A small directory of BERT as a classifier of texts with its tokenizer."""
  words = (TOKENIZERS / "bert" / "vocab.txt").read_text(encoding="utf-8")
  write_directory(path, "bert_classes", "bert", vocab_size=words.count("\n"))
