"""SentencePiece (Kudo and Richardson 2018): a vocabulary of the training text."""

import dataclasses
import hashlib
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import sentencepiece

from transformer.batch import BOS, EOS, PAD, UNK
from transformer.config import Positive
from transformer.data.text import is_blank, readable
from transformer.data.tokenizer import Tokenizer, TokenizerRecipe
from transformer.data.tokenizers.bpe_dropout import BpeDropout


@dataclasses.dataclass(frozen=True)
class SentencePiece(TokenizerRecipe):
  """How a vocabulary is made from the training text, both sides of it together.

  Text is not normalised, so what is decoded is what was written, up to the number of
  spaces between words.

  Attributes:
    vocabulary: number of pieces, the four special ones and the bytes included.
    model: `bpe` (Sennrich et al. 2016) or `unigram` (Kudo 2018).
    byte_fallback: spells characters not in the vocabulary as bytes, so that no text is
      unknown; takes 256 pieces.
    split_digits: every digit is a piece of its own.
    whitespace: keeps every space, as code and tables need, and not only the first of
      several.
    bpe_dropout: probability with which a merge is left out in the training text of
      translations (Provilkov et al. 2020); nowhere else, and 0 turns it off.
    copies: how often the training text is divided at random with `bpe_dropout`; an
      epoch goes through all copies.
  """

  vocabulary: Positive = 8000
  model: str = "bpe"
  byte_fallback: bool = True
  split_digits: bool = False
  whitespace: bool = False
  bpe_dropout: float = 0.0
  copies: int = 16

  def __post_init__(self):
    if self.model not in ("bpe", "unigram"):
      raise ValueError(f"tokenizer.model: {self.model!r} is neither bpe nor unigram")
    if not 0 <= self.bpe_dropout < 1:
      raise ValueError(
        f"tokenizer.bpe_dropout: expected 0 or more and less than 1, got "
        f"{self.bpe_dropout}"
      )
    if self.bpe_dropout and self.model != "bpe":
      raise ValueError(
        "tokenizer.bpe_dropout: a unigram model has no merges; take "
        "tokenizer.model=bpe, or leave it at 0"
      )
    if self.copies < 1:
      raise ValueError(f"tokenizer.copies: expected 1 or more, got {self.copies}")

  @property
  def divides_at_random(self) -> bool:
    return self.bpe_dropout > 0

  def check(self) -> None:
    # The default may stand: it is in the config.json of every run.
    if self.copies != SentencePiece.copies and not self.bpe_dropout:
      raise ValueError(
        f"--config.tokenizer.copies: {self.copies} copies of the training text differ "
        "by tokenizer.bpe_dropout alone, and it is 0; set it, or leave copies out"
      )

  def train(self, texts: Iterable[str]) -> bytes:
    """A model trained on texts, as bytes for `open`.

    Raises:
      ValueError: the texts cannot give a vocabulary of this size.
    """
    model = io.BytesIO()
    try:
      sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(text for text in texts if not is_blank(text)),
        model_writer=model,
        vocab_size=self.vocabulary,
        model_type=self.model,
        byte_fallback=self.byte_fallback,
        split_digits=self.split_digits,
        remove_extra_whitespaces=not self.whitespace,
        normalization_rule_name="identity",
        character_coverage=1.0,
        input_sentence_size=5_000_000,
        shuffle_input_sentence=False,
        max_sentence_length=1 << 16,
        pad_id=PAD,
        eos_id=EOS,
        bos_id=BOS,
        unk_id=UNK,
        num_threads=4,
        minloglevel=2,
      )
    except (RuntimeError, OSError) as error:
      raise ValueError(_explain(str(error), self.vocabulary)) from None
    return model.getvalue()

  def open(self, model: bytes) -> "SentencePieceTokenizer":
    return SentencePieceTokenizer(model, self.bpe_dropout, self.copies)

  def inherit(self, parent: TokenizerRecipe) -> TokenizerRecipe:
    if not isinstance(parent, SentencePiece):
      return parent
    # How training text is divided is no part of a model.
    return dataclasses.replace(parent, bpe_dropout=self.bpe_dropout, copies=self.copies)


def _explain(error: str, vocabulary: int) -> str:
  if "sentences_.empty()" in error:
    return "--config.data: the training text is empty"
  start = f"--config.tokenizer.vocabulary: {vocabulary:,}"
  if found := re.search(r"value <= (\d+)", error):
    most = int(found[1])
    return f"{start} is more than the corpus can give; at most {most:,}"
  if found := re.search(r"required_chars\. \d+ vs (\d+)", error):
    return f"{start} is too small for the characters of the corpus; at least {found[1]}"
  if "required_chars" in error or "smaller than" in error or "too small" in error:
    return f"{start} is too small for the characters of the corpus; raise it"
  return f"{start}: SentencePiece cannot train on this corpus ({error.strip()[-200:]})"


class SentencePieceTokenizer(Tokenizer):
  """A trained vocabulary."""

  def __init__(self, model: bytes, bpe_dropout: float = 0.0, copies: int = 1):
    """Opens what `SentencePiece.train` gave; the numbers are those of the recipe.

    Raises:
      ValueError: these bytes are no such model.
    """
    self.model = model
    self.sha256 = hashlib.sha256(model).hexdigest()
    self._bpe_dropout, self._copies = bpe_dropout, copies
    self._processor = sentencepiece.SentencePieceProcessor()
    try:
      self._processor.LoadFromSerializedProto(model)
    except RuntimeError:
      raise ValueError("tokenizer: the model is damaged") from None
    ids = self._processor
    if (ids.pad_id(), ids.eos_id(), ids.bos_id(), ids.unk_id()) != (PAD, EOS, BOS, UNK):
      raise ValueError("tokenizer: not a model of this project (other special ids)")

  @property
  def size(self) -> int:
    return self._processor.GetPieceSize()

  def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
    # Control pieces written out in a text are plain characters.
    encoded = self._processor.Encode(readable(texts), add_eos=True)
    return [np.asarray(ids, np.int32) for ids in encoded]

  def training_copies(self, seed: int) -> tuple[Tokenizer, ...]:
    if not self._bpe_dropout:
      return (self,)
    return tuple(
      _RandomlyDivided(self.model, self._bpe_dropout, f"{seed} {copy}")
      for copy in range(self._copies)
    )

  def decode(self, sequences: Iterable[Any]) -> list[str]:
    kept = []
    for sequence in sequences:
      ids = np.asarray(sequence)
      ends = np.flatnonzero(ids == EOS)
      ids = ids[: ends[0]] if len(ends) else ids
      kept.append([int(i) for i in ids if i not in (PAD, BOS)])
    return self._processor.Decode(kept)

  def pieces(self, ids: Sequence[int]) -> list[str]:
    return [self._processor.IdToPiece(int(i)) for i in ids]

  def id(self, piece: str) -> int:
    found = self._processor.PieceToId(piece)
    if self._processor.IdToPiece(found) != piece:
      near = " ".join(self._processor.EncodeAsPieces(piece))
      raise ValueError(
        f"{piece!r} is no piece of the vocabulary; as text it is written {near}"
      )
    return found


class _RandomlyDivided(SentencePieceTokenizer):
  """A vocabulary that divides texts by BPE-dropout, as its seed has it."""

  def __init__(self, model: bytes, rate: float, seed: str):
    super().__init__(model)
    self._random = BpeDropout(self._processor, rate, seed)
    self._fingerprint = f"{self.sha256} bpe_dropout={rate!r} seed={seed}"

  @property
  def fingerprint(self) -> str:
    return self._fingerprint

  def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
    return self._random.encode(readable(texts))
