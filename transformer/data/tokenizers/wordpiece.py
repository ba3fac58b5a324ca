"""The tokenizer of BERT: WordPiece (Wu et al. 2016; Devlin et al. 2019)."""

import dataclasses
import json
from typing import Any, ClassVar

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers

from transformer.config import Positive, abbreviate
from transformer.data.tokenizers.backend import LibraryBackend, cleans_up, from_json
from transformer.data.tokenizers.files import Files, require, settings
from transformer.data.tokenizers.imported import ImportedTokenizer

MAX_UNUSED = 1024
"""Rows of an embedding without a word: sizes are rounded up, but not by more."""


@dataclasses.dataclass(frozen=True)
class BertTokenizer(ImportedTokenizer):
  """BERT and its many descendants: words, cut into the longest pieces that there are.

  Texts stand between `[CLS]` and `[SEP]`, which take the ids of `BOS` and `EOS`;
  `[MASK]` takes that of `MASK`, and `[UNK]` is a piece like others.
  """

  vocabulary: Positive = 30_522

  specials: ClassVar = {
    "pad": ("pad_token", "[PAD]"),
    "eos": ("sep_token", "[SEP]"),
    "bos": ("cls_token", "[CLS]"),
    "unk": ("mask_token", "[MASK]"),
  }
  names: ClassVar = ("BertTokenizerFast", "DistilBertTokenizer")

  def backend(self, files: Files) -> LibraryBackend:
    if "tokenizer.json" in files:
      return from_json(files)
    require(files, "vocab.txt", instead="tokenizer.json")
    stated = settings(files)
    lines = files["vocab.txt"].decode("utf-8", "replace").split("\n")
    names = [line.rstrip("\r") for line in (lines[:-1] if not lines[-1] else lines)]
    special = [stated.get(f"{name}_token") or f"[{name.upper()}]"
               for name in ("pad", "unk", "cls", "sep", "mask")]  # fmt: skip
    if missing := [name for name in special if name not in names]:
      raise ValueError(
        f"vocab.txt: no piece {missing[0]}; the file is of another model"
      )
    ids = {name: i for i, name in enumerate(names)}
    tokenizer = tokenizers.Tokenizer(models.WordPiece(ids, unk_token=special[1]))
    chinese = stated.get("tokenize_chinese_chars", True)
    accents, lowercase = stated.get("strip_accents"), stated.get("do_lower_case", True)
    _check_flag("tokenize_chinese_chars", chinese)
    _check_flag("do_lower_case", lowercase)
    if accents is not None:  # which is to do as `do_lower_case` says
      _check_flag("strip_accents", accents)
    tokenizer.normalizer = normalizers.BertNormalizer(
      handle_chinese_chars=chinese, strip_accents=accents, lowercase=lowercase
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    tokenizer.add_special_tokens(special)
    return LibraryBackend(tokenizer, cleans_up(files))

  def of_directory(self, config: dict[str, Any], files: Files) -> "ImportedTokenizer":
    own = super().of_directory(config, files)
    words, rows = self.backend(files).size, config["vocab_size"]
    # A list of words has no end by which a truncated one is known.
    if "tokenizer.json" not in files and rows - words > MAX_UNUSED:
      raise ValueError(
        f"vocab.txt: {words:,} words, but the model has {rows:,}; the file is "
        "truncated, or of another model"
      )
    return own


def _check_flag(name: str, value: Any) -> None:
  """Raises ValueError if a setting is not a bool."""
  if not isinstance(value, bool):
    got = abbreviate(json.dumps(value))
    raise ValueError(
      f"tokenizer_config.json: {name}: expected true or false, got {got}"
    )
