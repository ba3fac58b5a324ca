"""Fills in the masked tokens of texts.

Texts are padded to declared lengths and a fixed number of rows, so the predictions for
a text do not depend on the batch that it is in (batch invariance).
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from transformer.batch import BOS, MASK, Tokens
from transformer.data.text import is_blank
from transformer.data.tokenizer import Tokenizer
from transformer.inference.batches import TEXT_LENGTHS, group, pad_tokens
from transformer.inference.devices import Devices

MASK_TEXT = "[MASK]"
"""How a mask is written in a text."""

ROWS = 16
"""Texts in a batch."""


class Prediction(NamedTuple):
  """A piece of the vocabulary, and its probability at a mask."""

  id: int
  piece: str
  probability: float


class Filled(NamedTuple):
  """A text that was filled in.

  Attributes:
    text: with the most probable piece at every mask, each predicted by itself.
    masks: for every mask in order, the most probable pieces, best first.
  """

  text: str
  masks: tuple[tuple[Prediction, ...], ...]


class MaskPredictor:
  """A masked language model with its parameters and tokenizer."""

  def __init__(
    self, module, params, tokenizer: Tokenizer, context: int, devices=Devices()
  ):
    """`context` is the longest text in training, in tokens; `devices` hold `params`."""
    self.module, self.params, self.tokenizer = module, params, tokenizer
    self.context, self.devices = context, devices

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
    return self.fill_encoded([self.encode(text) for text in texts], top, progress)

  def fill_encoded(
    self,
    sources: Sequence[np.ndarray],
    top: int = 5,
    progress: Callable[[int], object] | None = None,
  ) -> list[Filled]:
    """`fill` of what `encode` returned."""
    if not 1 <= top <= self.tokenizer.size:
      raise ValueError(f"top: expected 1 to {self.tokenizer.size:,}, got {top}")
    results = []
    predictions = self.predict(sources, top, progress)
    for ids, of_masks in zip(sources, predictions, strict=True):
      text = with_masks(self.tokenizer, fill_in(ids, of_masks))
      results.append(Filled(text, tuple(of_masks)))
    return results

  def encode(self, text: str) -> np.ndarray:
    """The tokens of a text between `BOS` and `EOS`, `MASK` for every `[MASK]`; a blank
    text has none but these two.

    Raises:
      ValueError: it has no mask, or is longer than the context.
    """
    if MASK_TEXT not in text and not is_blank(text):
      raise ValueError(
        f"{abbreviate(text)}: nothing to fill in; write {MASK_TEXT} for each missing "
        "piece"
      )
    ids = np.concatenate([[BOS], encode_masked(self.tokenizer, text)])
    if len(ids) > self.context:
      raise ValueError(
        f"{abbreviate(text)}: expected at most {self.context:,} tokens, the context in "
        f"training, got {len(ids):,}; shorten the text"
      )
    return ids.astype(np.int32)

  def predict(
    self,
    sources: Sequence[np.ndarray],
    top: int,
    progress: Callable[[int], object] | None = None,
  ) -> list[list[tuple[Prediction, ...]]]:
    """For every sequence of ids, and every `MASK` in it, the `top` most probable
    pieces, best first."""
    predictions: list[list[tuple[Prediction, ...]]] = [[] for _ in sources]
    padded = [TEXT_LENGTHS.round_up(len(ids)) for ids in sources]
    row_counts = (ROWS * self.devices.count,)
    for length, rows, indices in group(padded, lambda _: row_counts):
      batch = self.devices.put(pad_tokens([sources[i] for i in indices], rows, length))
      prob_btn, id_btn = self.devices.fetch(best(self.module, self.params, batch, top))
      for row, i in enumerate(indices):
        for t in np.flatnonzero(sources[i] == MASK):
          pieces = self.tokenizer.pieces(id_btn[row, t])
          ranked = zip(id_btn[row, t], pieces, prob_btn[row, t], strict=True)
          predictions[i].append(
            tuple(Prediction(int(n), piece, float(p)) for n, piece, p in ranked)
          )
        if progress is not None:
          progress(1)
    return predictions


def abbreviate(text: str) -> str:
  """A text for one line of an error message."""
  return repr(text) if len(text) <= 40 else f"{text[:40]!r}…"


@functools.partial(jax.jit, static_argnames=("module", "top"))
def best(module, params, batch: Tokens, top: int):
  """The probabilities of the `top` most probable tokens at every position, and their
  ids; `[b, t, top]` each."""
  logits_btv = module.apply({"params": params}, batch)
  return jax.lax.top_k(jax.nn.softmax(logits_btv), top)


def fill_in(
  ids: np.ndarray, predictions: Sequence[tuple[Prediction, ...]]
) -> np.ndarray:
  """The ids with the best prediction at every `MASK`."""
  filled = ids.copy()
  filled[ids == MASK] = [ranked[0].id for ranked in predictions]
  return filled


def encode_masked(tokenizer: Tokenizer, text: str) -> np.ndarray:
  """A text's tokens up to `EOS`, `MASK` for every `[MASK]`.

  A mask stands for one piece, with the space before it: in `the [MASK] sat` and in
  `sun[MASK] day` it may be `▁cat` and `ny`.
  """
  # The tokenizer cannot encode a mask, so a private-use character, which it spells in
  # bytes, goes through it in the mask's place.
  placeholder = next(chr(c) for c in range(0xE000, 0xF8FF) if chr(c) not in text)
  placeholder_ids = [tokenizer.id(f"<0x{byte:02X}>") for byte in placeholder.encode()]
  (ids,) = tokenizer.encode([text.replace(MASK_TEXT, placeholder)])
  masked: list[int] = []
  rest = [int(i) for i in ids]
  while rest:
    if rest[: len(placeholder_ids)] == placeholder_ids:
      if masked and tokenizer.pieces(masked[-1:]) == ["▁"]:
        masked.pop()
      masked.append(MASK)
      del rest[: len(placeholder_ids)]
    else:
      masked.append(rest.pop(0))
  return np.array(masked)


def with_masks(tokenizer: Tokenizer, ids: np.ndarray) -> str:
  """The text of ids, `[MASK]` for every `MASK`."""
  parts = np.split(ids, np.flatnonzero(ids == MASK))
  texts = tokenizer.decode([part[part != MASK] for part in parts])
  pieces = [tokenizer.pieces(part[part != MASK][:1]) for part in parts]
  spaced = [
    " " + text if first and first[0].startswith("▁") else text
    for text, first in zip(texts, pieces, strict=True)
  ]
  return MASK_TEXT.join(spaced).strip()
