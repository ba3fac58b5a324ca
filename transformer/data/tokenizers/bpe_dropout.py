"""BPE-dropout (Provilkov et al. 2020): merges of byte-pair encoding left out at random,
so that a model sees a word divided in several ways."""

import functools
import hashlib
import random
from collections.abc import Sequence

import numpy as np
import sentencepiece

WORD_START = "▁"


class BpeDropout:
  """Divides words into pieces by byte-pair encoding with dropout (§3, algorithm 1).

  Before each merge of a word, every merge that is possible is left out with probability
  `rate`, and the first of the others in the order of the vocabulary is carried out; the
  word is done where none is left. What a text becomes is a function of the text, the
  rate and the seed alone.
  """

  def __init__(
    self, processor: sentencepiece.SentencePieceProcessor, rate: float, seed: str
  ):
    """`processor` has a vocabulary made by byte-pair encoding."""
    self._processor, self._rate, self._seed = processor, rate, seed
    size = processor.GetPieceSize()
    self._pieces = [processor.IdToPiece(i) for i in range(size)]
    # Special pieces and bytes are no text that could be merged.
    self._ids = {
      self._pieces[i]: i
      for i in range(size)
      if not (processor.IsControl(i) or processor.IsUnknown(i) or processor.IsByte(i))
    }
    self._score = [processor.GetScore(i) for i in range(size)]
    self._merged = functools.cache(self._find_merged)
    self._characters = functools.cache(self._find_characters)

  def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
    """int32 ids of every text, each with `EOS` at its end."""
    encoded = self._processor.Encode(list(texts), add_eos=True)
    return [self._sample(text, ids) for text, ids in zip(texts, encoded, strict=True)]

  def _sample(self, text: str, ids: Sequence[int]) -> np.ndarray:
    digest = hashlib.sha256(f"{self._seed} {text}".encode()).digest()
    draw = random.Random(int.from_bytes(digest[:8], "big")).random
    sampled: list[int] = []
    word: list[int] = []
    for i in ids:
      if word and self._pieces[i].startswith(WORD_START):
        sampled += self._merge(tuple(word), draw)
        word = []
      word.append(i)
    return np.asarray(sampled + self._merge(tuple(word), draw), np.int32)

  def _merge(self, word: tuple[int, ...], draw) -> list[int]:
    """Pieces of a word, which is given by its pieces without dropout."""
    ids = list(self._characters(word))
    merged, score, rate = self._merged, self._score, self._rate
    while len(ids) > 1:
      best, place = None, -1
      for n in range(len(ids) - 1):
        new = merged(ids[n], ids[n + 1])
        if new is None or draw() < rate:
          continue
        if best is None or score[new] > score[best]:
          best, place = new, n
      if best is None:
        break
      ids[place : place + 2] = [best]
    return ids

  def _find_characters(self, word: tuple[int, ...]) -> tuple[int, ...]:
    """The ids of a word's characters; pieces that are not text stay as they are."""
    characters: list[int] = []
    for i in word:
      alone = [self._ids.get(c) for c in self._pieces[i]]
      known = [c for c in alone if c is not None]
      is_text = self._pieces[i] in self._ids and len(known) == len(alone)
      characters += known if is_text else [i]
    return tuple(characters)

  def _find_merged(self, left: int, right: int) -> int | None:
    if self._pieces[left] not in self._ids or self._pieces[right] not in self._ids:
      return None
    return self._ids.get(self._pieces[left] + self._pieces[right])
