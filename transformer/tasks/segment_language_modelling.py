"""Language modelling with a memory: segment by segment through a text (Dai et al.
2019)."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformer.batch import BOS, Continued, Tokens
from transformer.data.batching import Batching, Shape
from transformer.data.corpus import Continuations, Corpus
from transformer.data.sources.base import Source
from transformer.data.tokenizer import Tokenizer
from transformer.tasks.base import TrainingData, next_tokens
from transformer.tasks.language_modelling import LanguageModelling
from transformer.tasks.texts import open_texts, text_features
from transformer.training.losses import Mean, cross_entropy

ROWS = 16
"""Texts that are read side by side in evaluation."""


@dataclasses.dataclass(frozen=True)
class SegmentLanguageModelling(LanguageModelling):
  """Each token given those before it in its segment of `context` tokens, and what is
  remembered of the segments before.

  In training an example is a segment and up to `before` tokens of the same text before
  it. These are read first, in the same step and with the same parameters, get no
  gradient and no loss, and are the segment's memory. So a batch is a function of the
  step alone, and a run goes on exactly; it costs one more forward pass over them. What
  the layers remember is always of the newest parameters, and reaches back `before`
  tokens, where the paper's, of the step before, reaches farther and is stale.

  In evaluation a text is read from its beginning to its end, and `memory` tokens are
  remembered at each segment, of whatever their layers remembered then.

  Attributes:
    before: tokens before a segment in training.
    memory: tokens remembered in evaluation; may change when a run goes on.
  """

  scores = LanguageModelling.scores

  before: int = 128
  memory: int = 128

  def __post_init__(self):
    super().__post_init__()
    for name in ("before", "memory"):
      if getattr(self, name) < 0:
        raise ValueError(f"task.{name}: {getattr(self, name)} is negative")

  def training_data(
    self,
    data: Source,
    tokenizer: Tokenizer,
    batching: Batching,
    seed: int,
    cache: Path,
  ) -> TrainingData:
    open_texts(data, "train")
    texts = Corpus.build(data, "train", tokenizer, cache, progress=True)
    corpus = Continuations(texts, self.context, self.before)
    found = text_features(corpus, tokenizer, batching, seed)
    return found.map(lambda pairs: Continued(*pairs))

  def example(self, shape: Shape) -> Any:
    def side(slots: int) -> Tokens:
      return Tokens(*(np.zeros((shape.rows, slots), np.int32),) * 3)

    return Continued(side(shape.source), side(shape.target))

  def loss(self, module, params, batch, key) -> tuple[Mean, Any]:
    smoothing = 0.0 if key is None else self.smoothing
    target = following(batch.text)
    return next_tokens(
      module, params, batch, target, self.cross_entropy, smoothing, key
    )

  def held_out_loss(
    self, module, params, data: Source, tokenizer: Tokenizer, split: str, cache: Path
  ) -> Mean:
    open_texts(data, split)
    texts = Corpus.build(data, split, tokenizer, cache, progress=False)
    return read_through(module, params, texts, self.context, self.memory)


def following(text: Tokens) -> Tokens:
  """What each token tells: the next of its example; nothing at the last."""
  id_bt, pos_bt, seg_bt = (jnp.roll(part, -1, axis=1) for part in text)
  goes_on_bt = (seg_bt == text.seg_bt) & (pos_bt == text.pos_bt + 1)
  return Tokens(id_bt, pos_bt, jnp.where(goes_on_bt, text.seg_bt, 0))


def read_through(module, params, texts: Corpus, length: int, memory: int) -> Mean:
  """Loss sums of whole texts, read in segments of `length` tokens with a memory of
  `memory`. Every text begins with an empty one, and does not see another."""
  order = np.argsort(-texts.lengths_n2[:, 0], kind="stable")
  sums = Mean(jnp.zeros(()), jnp.zeros(()))
  for first in range(0, len(order), ROWS):
    streams = [
      np.concatenate([[BOS], texts[i][0]]) for i in order[first : first + ROWS]
    ]
    longest = len(streams[0]) - 1
    known = module.apply({"params": params}, ROWS, memory, method="nothing")
    for start in range(0, longest, length):
      batch = np.zeros((4, ROWS, length), np.int32)
      for row, stream in enumerate(streams):
        n = min(length, len(stream) - 1 - start)
        if n > 0:
          read, told = stream[start : start + n], stream[start + 1 : start + n + 1]
          batch[:, row, :n] = read, range(n), [1] * n, told
      more, known = read_segment(
        module, params, Tokens(*batch[:3]), batch[3], known, memory
      )
      sums = sums + more
  return sums


@functools.partial(jax.jit, static_argnames=("module", "memory"))
def read_segment(module, params, tokens: Tokens, told_bt, known, memory: int):
  """Loss sums of one segment of every row, and what is remembered after it."""
  variables = {"params": params}
  x_btd, new = module.apply(variables, tokens, known, method="read")
  logits_btv = module.apply(variables, x_btd, method="logits")
  sums = cross_entropy(logits_btv, told_bt, tokens.seg_bt != 0)
  return sums, known.then(new, memory)
