"""What a masked language model puts into the gaps of a text.

Texts are grouped by declared lengths, always the same number in a batch, so that what
is found for a text does not depend on the others.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from transformer.batch import BOS, MASK, Tokens
from transformer.data.batching import LENGTHS
from transformer.data.tokenizer import Tokenizer

WORD = "[MASK]"
"""How a mask is written in a text."""

ROWS = 16
"""Texts in a batch."""


class Guess(NamedTuple):
  """A piece of the vocabulary, and how probable the model holds it at a mask."""

  id: int
  piece: str
  probability: float


class Filled(NamedTuple):
  """A text and its masks.

  Attributes:
    text: with the most probable piece at every mask, each chosen by itself.
    masks: for every mask in order, the most probable pieces, best first.
  """

  text: str
  masks: tuple[tuple[Guess, ...], ...]


class MaskFiller:
  """A model with parameters and a vocabulary."""

  def __init__(self, module, params, tokenizer: Tokenizer, context: int):
    """`context` is the most tokens that the model has seen at once in training."""
    self.module, self.params, self.tokenizer = module, params, tokenizer
    self.context = context

  def fill(
    self,
    texts: Sequence[str],
    top: int = 5,
    progress: Callable[[int], object] | None = None,
  ) -> list[Filled]:
    """The `top` most probable pieces at every `[MASK]` of every text, in order.

    Raises:
      ValueError: a text has no mask, or is longer than the context.
    """
    if not 1 <= top <= self.tokenizer.size:
      raise ValueError(f"top: {top} is not in 1 to {self.tokenizer.size:,}")
    sources = [self.encode(text) for text in texts]
    results = []
    for ids, found in zip(sources, self.guesses(sources, top, progress), strict=True):
      filled = ids.copy()
      filled[ids == MASK] = [guesses[0].id for guesses in found]
      results.append(Filled(with_masks(self.tokenizer, filled), tuple(found)))
    return results

  def encode(self, text: str) -> np.ndarray:
    """The tokens of a text between `BOS` and `EOS`, `MASK` for every `[MASK]`."""
    if WORD not in text:
      raise ValueError(
        f"{text!r}: nothing to fill in; write {WORD} where a piece lacks"
      )
    ids = np.concatenate([[BOS], encode_masked(self.tokenizer, text)])
    if len(ids) > self.context:
      raise ValueError(
        f"{text[:40]!r}…: {len(ids):,} tokens; the model was trained on "
        f"{self.context:,} at once: shorten the text"
      )
    return ids.astype(np.int32)

  def guesses(
    self,
    sources: Sequence[np.ndarray],
    top: int,
    progress: Callable[[int], object] | None = None,
  ) -> list[list[tuple[Guess, ...]]]:
    """For every sequence of ids, and every `MASK` in it, the most probable pieces."""
    found: list[list[tuple[Guess, ...]]] = [[] for _ in sources]
    groups: dict[int, list[int]] = {}
    for i, ids in enumerate(sources):
      groups.setdefault(room(len(ids)), []).append(i)
    for size, members in sorted(groups.items()):
      for start in range(0, len(members), ROWS):
        part = members[start : start + ROWS]
        batch = np.zeros((3, ROWS, size), np.int32)
        for row, i in enumerate(part):
          n = len(sources[i])
          batch[:, row, :n] = sources[i], range(n), [1] * n
        prob_btn, id_btn = best(self.module, self.params, Tokens(*batch), top)
        prob_btn, id_btn = np.asarray(prob_btn), np.asarray(id_btn)
        for row, i in enumerate(part):
          for t in np.flatnonzero(sources[i] == MASK):
            pieces = self.tokenizer.pieces(id_btn[row, t])
            rows = zip(id_btn[row, t], pieces, prob_btn[row, t], strict=True)
            found[i].append(tuple(Guess(int(n), p, float(q)) for n, p, q in rows))
          if progress is not None:
            progress(1)
    return found


@functools.partial(jax.jit, static_argnames=("module", "top"))
def best(module, params, batch: Tokens, top: int):
  """The probabilities of the `top` most probable tokens at every slot, and the tokens;
  `[b, t, top]` each."""
  logits_btv = module.apply({"params": params}, batch)
  return jax.lax.top_k(jax.nn.softmax(logits_btv), top)


def room(length: int) -> int:
  """The declared length for a text; beyond the longest, a multiple of it."""
  fitting = [size for size in LENGTHS if size >= length]
  return fitting[0] if fitting else -(-length // LENGTHS[-1]) * LENGTHS[-1]


def encode_masked(tokenizer: Tokenizer, text: str) -> np.ndarray:
  """A text's tokens up to `EOS`, `MASK` for every `[MASK]`.

  A mask stands for one piece, with the space before it: in `the [MASK] sat` and in
  `sun[MASK] day` it may be `▁cat` and `ny`.
  """
  # A character for private use takes the place of the mask through the tokenizer, which
  # knows none and spells it in bytes.
  sign = next(chr(c) for c in range(0xE000, 0xF8FF) if chr(c) not in text)
  spelt = [tokenizer.id(f"<0x{byte:02X}>") for byte in sign.encode()]
  (ids,) = tokenizer.encode([text.replace(WORD, sign)])
  found: list[int] = []
  waiting = [int(i) for i in ids]
  while waiting:
    if waiting[: len(spelt)] == spelt:
      if found and tokenizer.pieces(found[-1:]) == ["▁"]:
        found.pop()
      found.append(MASK)
      del waiting[: len(spelt)]
    else:
      found.append(waiting.pop(0))
  return np.array(found)


def with_masks(tokenizer: Tokenizer, ids: np.ndarray) -> str:
  """The text of ids, `[MASK]` for every `MASK`."""
  parts = np.split(ids, np.flatnonzero(ids == MASK))
  texts = tokenizer.decode([part[part != MASK] for part in parts])
  pieces = [tokenizer.pieces(part[part != MASK][:1]) for part in parts]
  spaced = [
    " " + text if first and first[0].startswith("▁") else text
    for text, first in zip(texts, pieces, strict=True)
  ]
  return WORD.join(spaced).strip()
