"""The tokenizer of T5."""

import dataclasses
from typing import ClassVar

from transformer.config import Positive
from transformer.data.tokenizers.backend import LibraryBackend, UnigramFile, from_json
from transformer.data.tokenizers.files import Files, require, settings
from transformer.data.tokenizers.imported import ImportedTokenizer


@dataclasses.dataclass(frozen=True)
class T5Tokenizer(ImportedTokenizer):
  """T5 and Flan-T5 (Raffel et al. 2020): a unigram model. After its pieces come the
  sentinels `<extra_id_99>` to `<extra_id_0>`, which stand for spans that were cut
  out."""

  vocabulary: Positive = 32_129

  specials: ClassVar = {**ImportedTokenizer.specials, "bos": ("bos_token", None)}
  names: ClassVar = ("T5TokenizerFast",)

  def backend(self, files: Files) -> LibraryBackend:
    if "tokenizer.json" in files:
      return from_json(files)
    require(files, "spiece.model", instead="tokenizer.json")
    file = UnigramFile(files, "spiece.model")
    count = settings(files).get("extra_ids", 100)
    if type(count) is not int or not 0 <= count <= 10_000:
      raise ValueError(
        f"tokenizer_config.json: extra_ids: expected a number of tokens, got {count!r}"
      )
    sentinels = [f"<extra_id_{i}>" for i in reversed(range(count))]
    pieces = [*file.pieces, *((name, 0.0) for name in sentinels)]
    special = ["<pad>", "</s>", "<unk>", *sentinels]
    return file.backend(pieces, "<unk>", special, t5=True)
