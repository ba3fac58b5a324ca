"""Byte-level byte pair encoding (Radford et al. 2019): GPT-2 and BART."""

import dataclasses
from typing import ClassVar

import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from transformer.config import Positive
from transformer.data.tokenizers.backend import LibraryBackend, from_json
from transformer.data.tokenizers.files import Files, id_table, require, settings
from transformer.data.tokenizers.imported import ImportedTokenizer


def byte_level(files: Files, special: list[str]) -> LibraryBackend:
  """The tokenizer of a vocab.json and a merges.txt, or of a tokenizer.json.

  Raises:
    ValueError: a file is missing or damaged.
  """
  if "tokenizer.json" in files:
    return from_json(files)
  require(files, "vocab.json", "merges.txt", instead="tokenizer.json")
  ids = id_table(files, "vocab.json")
  lines = files["merges.txt"].decode("utf-8", "replace").split("\n")
  rows = [line.split(" ") for line in lines if line and line[:8] != "#version"]
  if not rows or any(len(row) != 2 for row in rows):
    raise ValueError("merges.txt: expected two pieces a line; the file is damaged")
  pairs = [(left, right) for left, right in rows]
  try:
    model = models.BPE(ids, pairs, continuing_subword_prefix="", end_of_word_suffix="")
  # The library raises Exception itself, where a merge has a piece without an id.
  except Exception as error:
    raise ValueError(f"merges.txt: not the merges of vocab.json: {error}") from None
  tokenizer = tokenizers.Tokenizer(model)
  spaced = bool(settings(files).get("add_prefix_space", False))
  tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=spaced)
  tokenizer.decoder = decoders.ByteLevel()
  tokenizer.add_special_tokens(special)
  return LibraryBackend(tokenizer)


@dataclasses.dataclass(frozen=True)
class GPT2Tokenizer(ImportedTokenizer):
  """GPT-2: one token, `<|endoftext|>`, begins, ends and separates texts."""

  vocabulary: Positive = 50_260

  specials: ClassVar = {
    "pad": ("pad_token", None),
    "eos": ("eos_token", "<|endoftext|>"),
    "bos": ("bos_token", "<|endoftext|>"),
    "unk": ("unk_token", "<|endoftext|>"),
  }
  names: ClassVar = ("GPT2TokenizerFast",)

  def backend(self, files: Files) -> LibraryBackend:
    return byte_level(files, ["<|endoftext|>"])


@dataclasses.dataclass(frozen=True)
class BartTokenizer(ImportedTokenizer):
  """BART and RoBERTa: texts stand between `<s>` and `</s>`."""

  vocabulary: Positive = 50_265
  names: ClassVar = ("BartTokenizerFast", "RobertaTokenizer", "RobertaTokenizerFast")

  def backend(self, files: Files) -> LibraryBackend:
    return byte_level(files, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"])

  def source_prefix(self) -> tuple[str, ...]:
    return ("<s>",)

  def target_prefix(self) -> tuple[str, ...]:
    return ("<s>",)
