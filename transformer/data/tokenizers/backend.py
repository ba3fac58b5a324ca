"""Tokenizers that the library `tokenizers` runs: those with a tokenizer.json, and those
that are built from older files."""

from collections.abc import Sequence

import sentencepiece
import tokenizers
from etils import epy
from tokenizers import decoders, models, normalizers, pre_tokenizers

from transformer.data.tokenizers.files import Files, settings

with epy.lazy_imports():  # only where a tokenizer is built from such a file
  from sentencepiece import sentencepiece_model_pb2


class LibraryBackend:
  """A `tokenizers.Tokenizer`, which adds no tokens around a text."""

  def __init__(self, tokenizer: tokenizers.Tokenizer, clean_up: bool = False):
    """`clean_up`: decoded English has no spaces before its punctuation."""
    self._tokenizer, self._clean_up = tokenizer, clean_up
    self._size = max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1

  @property
  def size(self) -> int:
    return self._size

  @property
  def added(self) -> tuple[str, ...]:
    """The tokens that were added to the vocabulary, by their ids."""
    found = self._tokenizer.get_added_tokens_decoder()
    return tuple(str(found[i].content) for i in sorted(found))

  def encode(self, texts: Sequence[str]) -> list[list[int]]:
    encoded = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
    return [each.ids for each in encoded]

  def encode_sources(self, texts: Sequence[str]) -> list[list[int]]:
    return self.encode(texts)

  def decode(self, sequences: Sequence[list[int]]) -> list[str]:
    texts = self._tokenizer.decode_batch(sequences, skip_special_tokens=True)
    return [clean_up(text) for text in texts] if self._clean_up else texts

  def piece(self, their_id: int) -> str | None:
    return self._tokenizer.id_to_token(their_id)

  def id(self, piece: str) -> int | None:
    return self._tokenizer.token_to_id(piece)


def clean_up(text: str) -> str:
  """English without the spaces before its punctuation: what
  `clean_up_tokenization_spaces` of Hugging Face's classes does."""
  for spaced in (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're"):
    text = text.replace(spaced, spaced.strip())
  return text


def from_json(files: Files) -> LibraryBackend:
  """The tokenizer of a tokenizer.json.

  Raises:
    ValueError: it is damaged.
  """
  try:
    tokenizer = tokenizers.Tokenizer.from_str(files["tokenizer.json"].decode())
  # The library raises Exception itself.
  except Exception:
    raise ValueError(
      "tokenizer.json: not a tokenizer of the library tokenizers; the file is damaged, "
      "or of a newer version"
    ) from None
  tokenizer.no_padding()
  tokenizer.no_truncation()
  return LibraryBackend(tokenizer, cleans_up(files))


def cleans_up(files: Files) -> bool:
  """Whether the tokenizer's settings ask for `clean_up`."""
  return settings(files).get("clean_up_tokenization_spaces") is True


class UnigramFile:
  """A SentencePiece model of the kind unigram.

  Attributes:
    pieces: every piece with its score, in the order of ids.
    rules: the table of its normalisation; empty if there is none.
  """

  def __init__(self, files: Files, name: str):
    """Raises ValueError where the file is damaged, or of another kind."""
    proto = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
    try:
      sentencepiece.SentencePieceProcessor().LoadFromSerializedProto(files[name])
      proto.ParseFromString(files[name])
    except (RuntimeError, ValueError):
      raise ValueError(f"{name}: no SentencePiece model; the file is damaged") from None
    if proto.trainer_spec.model_type != proto.trainer_spec.UNIGRAM:
      raise ValueError(
        f"{name}: expected a unigram model; save this tokenizer with save_pretrained, "
        "which writes tokenizer.json"
      )
    self.pieces = [(piece.piece, piece.score) for piece in proto.pieces]
    self.rules = proto.normalizer_spec.precompiled_charsmap

  def backend(
    self, pieces: list[tuple[str, float]], unk: str, special: Sequence[str], t5: bool
  ) -> LibraryBackend:
    """A tokenizer with these pieces.

    Args:
      pieces: with their scores, in the order of ids.
      unk: the piece of unknown characters.
      special: pieces that are found in a text first, and left out of decoded text.
      t5: whether a text is cut at white space of every kind, as T5 does, and spaces
        in sequence are not made one by the normalisation.
    """
    names = [name for name, _ in pieces]
    tokenizer = tokenizers.Tokenizer(models.Unigram(pieces, names.index(unk), False))
    steps: list = [normalizers.Precompiled(self.rules)] if self.rules else []
    cut: list = [pre_tokenizers.WhitespaceSplit()] if t5 else []
    if not t5:
      steps.append(normalizers.Replace(tokenizers.Regex(" {2,}"), " "))
    tokenizer.normalizer = normalizers.Sequence(steps)
    cut.append(pre_tokenizers.Metaspace("▁", prepend_scheme="always"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(cut)
    tokenizer.decoder = decoders.Metaspace("▁", prepend_scheme="always")
    tokenizer.add_special_tokens(
      [
        tokenizers.AddedToken(name, special=True, normalized=False,
                              lstrip=name == "<mask>")
        for name in special
      ]
    )  # fmt: skip
    return LibraryBackend(tokenizer)
