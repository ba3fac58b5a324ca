"""Tokenizers of SentencePiece models whose ids are in a file of their own: MarianMT and
M2M-100.

SentencePiece cuts the text into pieces, and vocab.json has the id of each. A piece that
is not in vocab.json is unknown.
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import ClassVar

import sentencepiece

from transformer.config import Positive
from transformer.data.tokenizer import Tokenizer, TokenizerRecipe
from transformer.data.tokenizers.files import Files, id_table, require, settings
from transformer.data.tokenizers.imported import (
  Backend,
  ImportedTokenizer,
  MultilingualTokenizer,
)


def open_sentencepiece(files: Files, name: str):
  """The SentencePiece model of a file.

  Raises:
    ValueError: it is damaged.
  """
  processor = sentencepiece.SentencePieceProcessor()
  try:
    processor.LoadFromSerializedProto(files[name])
  except RuntimeError:
    raise ValueError(f"{name}: no SentencePiece model; the file is damaged") from None
  return processor


class PieceTable:
  """SentencePiece models of sources and targets, and the id of every piece."""

  def __init__(self, source, target, ids: dict[str, int], special: set[str], unk: str):
    """Takes two models, which may be one.

    Args:
      source, target: SentencePiece models; the second decodes.
      ids: the id of every piece and special token.
      special: the tokens that are found in a text before it is cut into pieces, and
        left out when ids are decoded.
      unk: the token of unknown pieces.

    Raises:
      ValueError: `unk` has no id.
    """
    if unk not in ids:
      raise ValueError(f"vocab.json: expected the unknown token {unk!r}, got none")
    self._source, self._target, self._ids = source, target, ids
    self._pieces = {i: piece for piece, i in ids.items()}
    self._unk, self._special = ids[unk], special
    # Of two tokens that begin alike the longer is found.
    longest_first = sorted(special, key=len, reverse=True)
    self._tokens = re.compile(f"({'|'.join(map(re.escape, longest_first))})")

  @property
  def size(self) -> int:
    return max(self._pieces) + 1

  def piece(self, their_id: int) -> str | None:
    return self._pieces.get(their_id)

  def id(self, piece: str) -> int | None:
    return self._ids.get(piece)

  def encode(self, texts: Sequence[str]) -> list[list[int]]:
    return [self._encode(text, self._target) for text in texts]

  def encode_sources(self, texts: Sequence[str]) -> list[list[int]]:
    return [self._encode(text, self._source) for text in texts]

  def _encode(self, text: str, model) -> list[int]:
    pieces: list[str] = []
    for part in self._tokens.split(text):
      if part in self._special:
        pieces.append(part)
      elif part:
        pieces += self.cut(part, model)
    return [self._ids.get(piece, self._unk) for piece in pieces]

  def cut(self, text: str, model) -> list[str]:
    """The pieces of a text without special tokens."""
    return model.EncodeAsPieces(text)

  def decode(self, sequences: Sequence[list[int]]) -> list[str]:
    texts = []
    for ids in sequences:
      found = [self._pieces.get(i) for i in ids]
      pieces = [
        each for each in found if each is not None and each not in self._special
      ]
      texts.append(self._target.DecodePieces(pieces).strip())
    return texts


class MarianTable(PieceTable):
  """Marian's: the language of the target may stand before the source as `>>deu<<`."""

  def cut(self, text: str, model) -> list[str]:
    code = re.match(">>.*?<<", text, re.DOTALL)
    if code is None:
      return model.EncodeAsPieces(text)
    return [code[0], *model.EncodeAsPieces(text[code.end() :])]

  def decode(self, sequences: Sequence[list[int]]) -> list[str]:
    # Pieces that the target's model does not have keep their mark of a space.
    return [text.replace("▁", " ").strip() for text in super().decode(sequences)]


@dataclasses.dataclass(frozen=True)
class MarianTokenizer(MultilingualTokenizer):
  """MarianMT, as the models of OPUS-MT (Tiedemann and Thottingal 2020): one
  SentencePiece model for sources, one for targets and one table of ids. Where the
  table has tokens such as `>>deu<<`, the model has several target languages."""

  vocabulary: Positive = 58_102

  chooses_source: ClassVar[bool] = False
  specials: ClassVar = {
    **ImportedTokenizer.specials,
    "bos": ("bos_token", None),
  }

  def backend(self, files: Files) -> Backend:
    require(files, "source.spm", "target.spm", "vocab.json")
    ids, stated = id_table(files, "vocab.json"), settings(files)
    defaults = dict(pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    special = {stated.get(name) or token for name, token in defaults.items()}
    return MarianTable(
      open_sentencepiece(files, "source.spm"),
      open_sentencepiece(files, "target.spm"),
      ids,
      {token for token in special if token in ids},
      stated.get("unk_token") or "<unk>",
    )

  def languages(self, backend: Backend) -> tuple[str, ...]:
    pieces = (backend.piece(i) for i in range(backend.size))
    return tuple(p for p in pieces if p and p.startswith(">>") and p.endswith("<<"))

  def source_prefix(self) -> tuple[str, ...]:
    # The token of the target's language stands before the source.
    return (self.target_language,) if self.target_language else ()

  def target_prefix(self) -> tuple[str, ...]:
    return ()

  def with_languages(
    self, tokenizer: Tokenizer, source: str | None, target: str | None
  ) -> TokenizerRecipe:
    if source is not None and tokenizer.languages:
      raise ValueError(
        f"--source-language {source}: this model has one source language, or tells it "
        "from the text; leave the flag out"
      )
    return super().with_languages(tokenizer, source, target)


_CODES = (
  "af am ar ast az ba be bg bn br bs ca ceb cs cy da de el en es et fa ff fi "
  "fr fy ga gd gl gu ha he hi hr ht hu hy id ig ilo is it ja jv ka kk km kn "
  "ko lb lg ln lo lt lv mg mk ml mn mr ms my ne nl no ns oc or pa pl ps pt ro "
  "ru sd si sk sl so sq sr ss su sv sw ta th tl tn tr uk ur uz vi wo xh yi yo "
  "zh zu"
)

M2M100_LANGUAGES = tuple(_CODES.split())
"""In the order of their ids, which follow those of the pieces (Fan et al. 2021)."""


@dataclasses.dataclass(frozen=True)
class M2M100Tokenizer(MultilingualTokenizer):
  """M2M-100 (Fan et al. 2021): one SentencePiece model, one table of ids, and a token
  such as `__de__` for each language, which stands before the text on both sides."""

  vocabulary: Positive = 128_112

  def backend(self, files: Files) -> Backend:
    require(files, "sentencepiece.bpe.model", "vocab.json")
    ids = id_table(files, "vocab.json")
    languages = [self.language_piece(code) for code in M2M100_LANGUAGES]
    first = max(ids.values()) + 1
    ids |= {piece: first + i for i, piece in enumerate(languages)}
    model = open_sentencepiece(files, "sentencepiece.bpe.model")
    special = {"<s>", "<pad>", "</s>", "<unk>", *languages}
    return PieceTable(model, model, ids, special, "<unk>")

  def languages(self, backend: Backend) -> tuple[str, ...]:
    return M2M100_LANGUAGES

  def language_piece(self, language: str) -> str:
    return f"__{language}__"
