"""Vocabularies of whole words: the classes of images, the words of stories."""

import hashlib
import json
from collections.abc import Iterable
from typing import Protocol


class Vocabulary(Protocol):
  """The vocabulary of a run, by which its task reads inputs and writes outputs."""

  model: bytes
  """The contents of its file in the run."""
  sha256: str
  """The digest of `model`."""

  @property
  def size(self) -> int:
    """The number of ids."""


class WordVocabulary:
  """Words in order; the id of each is its index."""

  def __init__(self, model: bytes):
    """Opens what `write` returned.

    Raises:
      ValueError: the bytes are damaged.
    """
    try:
      words = json.loads(model.decode("utf-8"))
    except (ValueError, RecursionError):
      words = None
    whole = isinstance(words, list) and all(isinstance(word, str) for word in words)
    if not whole or len(set(words)) != len(words):
      raise ValueError(
        "vocabulary: expected a JSON list of different words; the file is damaged"
      )
    self.model, self.words = model, tuple(words)
    self.sha256 = hashlib.sha256(model).hexdigest()
    self._ids = {word: i for i, word in enumerate(words)}

  @staticmethod
  def write(words: Iterable[str]) -> bytes:
    """The words as bytes for `WordVocabulary`."""
    return json.dumps(list(words), ensure_ascii=False).encode()

  @property
  def size(self) -> int:
    return len(self.words)

  def id(self, word: str) -> int | None:
    """The id of a word; None if it is not in the list."""
    return self._ids.get(word)
