"""SentencePiece: text to ids and back (Kudo and Richardson 2018)."""

import dataclasses
import hashlib
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import sentencepiece

from transformer.batch import BOS, EOS, PAD, UNK
from transformer.data.text import blank_to_empty, check_text, is_blank


@dataclasses.dataclass(frozen=True)
class SentencePiece:
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
  """

  vocabulary: int = 8000
  model: str = "bpe"
  byte_fallback: bool = True
  split_digits: bool = False
  whitespace: bool = False

  def __post_init__(self):
    if self.model not in ("bpe", "unigram"):
      raise ValueError(f"tokenizer.model: {self.model!r} is neither bpe nor unigram")

  def train(self, texts: Iterable[str]) -> bytes:
    """A model trained on texts, as bytes for `Tokenizer`.

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


def _explain(error: str, vocabulary: int) -> str:
  if "sentences_.empty()" in error:
    return "--config.data: the training text is empty"
  start = f"--config.tokenizer.vocabulary: {vocabulary:,}"
  if found := re.search(r"value <= (\d+)", error):
    most = int(found[1])
    return f"{start} is more than the corpus can give; at most {most:,}"
  if "required_chars" in error or "smaller than" in error or "too small" in error:
    return f"{start} is too small for the characters of the corpus; raise it"
  return f"{start}: SentencePiece cannot train on this corpus ({error.strip()[-200:]})"


class Tokenizer:
  """A trained vocabulary."""

  def __init__(self, model: bytes):
    """Opens what `SentencePiece.train` gave.

    Raises:
      ValueError: these bytes are no such model.
    """
    self.model = model
    self.sha256 = hashlib.sha256(model).hexdigest()
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
    """The number of pieces."""
    return self._processor.GetPieceSize()

  def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
    """int32 ids of every text, each ending in `EOS`; a blank text (`data.text`) is
    empty, and control pieces written out in a text are plain characters.

    Raises:
      ValueError: a text is not Unicode.
    """
    for text in texts:
      check_text(text)
    encoded = self._processor.Encode(list(map(blank_to_empty, texts)), add_eos=True)
    return [np.asarray(ids, np.int32) for ids in encoded]

  def decode(self, sequences: Iterable[Any]) -> list[str]:
    """The text of every sequence of ids, up to its first `EOS`."""
    kept = []
    for sequence in sequences:
      ids = np.asarray(sequence)
      ends = np.flatnonzero(ids == EOS)
      ids = ids[: ends[0]] if len(ends) else ids
      kept.append([int(i) for i in ids if i not in (PAD, BOS)])
    return self._processor.Decode(kept)

  def pieces(self, ids: Sequence[int]) -> list[str]:
    """The piece that every id stands for."""
    return [self._processor.IdToPiece(int(i)) for i in ids]

  def id(self, piece: str) -> int:
    """The id of a piece of the vocabulary.

    Raises:
      ValueError: there is no such piece.
    """
    found = self._processor.PieceToId(piece)
    if self._processor.IdToPiece(found) != piece:
      near = " ".join(self._processor.EncodeAsPieces(piece))
      raise ValueError(
        f"{piece!r} is no piece of the vocabulary; as text it is written {near}"
      )
    return found
