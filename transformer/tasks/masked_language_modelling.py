"""Masked language modelling: the tokens of a text that were taken out, from both sides
(Devlin et al. 2019, §3.1, task 1)."""

import dataclasses
import functools
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from transformer.batch import MASK, PAD, UNK, Pairs, Tokens
from transformer.data.batching import Grouped
from transformer.data.corpus import Begun, Corpus, Pieces
from transformer.data.pipeline import evaluation_batches
from transformer.data.sources.base import Source
from transformer.data.tokenizer import SentencePiece, Tokenizer
from transformer.inference.fill import MaskFiller, with_masks
from transformer.layers.dropout import hashed_bits
from transformer.tasks.base import ACCURACY, LOSS, Metric, Samples, next_tokens
from transformer.tasks.texts import TextTask, open_texts
from transformer.training.losses import CrossEntropy, Mean, accuracy, cross_entropy

SPECIAL = UNK + 1
"""Ids below it are special, and are never masked or drawn."""

SHOWN = 6
"""Held-out texts that an evaluation fills in."""

OFTEN = {"mask": 0.8, "other": 0.1}
"""How often a chosen token becomes the mask, or a random token; else it stays."""


@dataclasses.dataclass(frozen=True)
class MaskedLanguageModelling(TextTask):
  """Tokens chosen at random, given all the others of their text.

  Of all tokens but the special ones each is chosen with probability `chosen`; of those
  80% become the mask, 10% a token at random, 10% stay, and each is to be told. They are
  drawn anew every time that a text comes round (dynamic masking, Liu et al. 2019,
  §4.1), as a pure function of the run's seed, the step and the slot. In evaluation a
  text has exactly `chosen` of its tokens, at least one, drawn from its number alone, so
  that scores depend on nothing else.

  A text is cut into pieces of at most `context` tokens, `BOS` counted.

  Attributes:
    context: tokens of a piece.
    chosen: the share of tokens that are to be told.
    cross_entropy: from what the model makes of the tokens to the loss; speed and memory.
  """

  verb: ClassVar[str] = "fill"
  scores = (
    LOSS,
    ACCURACY,
    Metric("unigram_loss", lower_is_better=True),
    Metric("unigram_accuracy"),
    Metric("tokens"),
  )

  chosen: float = 0.15
  cross_entropy: CrossEntropy = CrossEntropy()

  def __post_init__(self):
    if self.context < 4:
      raise ValueError(f"task.context: {self.context} is less than 4")
    if not 0.0 < self.chosen < 1.0:
      raise ValueError(f"task.chosen: {self.chosen} is not between 0 and 1")

  def make_vocabulary(self, data: Source, recipe: SentencePiece) -> bytes:
    if not recipe.byte_fallback:
      raise ValueError(
        "--config.tokenizer.byte_fallback: masked language modelling needs it, for "
        "what is unknown would be taken for a mask"
      )
    return super().make_vocabulary(data, recipe)

  def pieces(
    self, data: Source, split: str, tokenizer: Tokenizer, cache: Path, progress: bool
  ) -> Begun:
    open_texts(data, split)
    texts = Corpus.build(data, split, tokenizer, cache, progress)
    return Begun(Pieces(texts, self.context - 1), self.context)

  def loss(self, module, params, batch, key) -> tuple[Mean, Any]:
    drawn, dropped = jax.random.split(jax.random.key(0) if key is None else key)
    read, wanted = mask(batch, drawn, self.chosen, module.vocabulary)
    return next_tokens(
      module,
      params,
      read,
      wanted,
      self.cross_entropy,
      0.0,
      None if key is None else dropped,
    )

  def evaluate(
    self,
    module,
    params,
    data: Source,
    tokenizer: Tokenizer,
    split: str,
    cache: Path,
    progress: bool = True,
  ):
    pieces = self.pieces(data, split, tokenizer, cache, progress=False)
    corpus = Guesses(pieces, self.chosen, tokenizer.size)
    sums = correct = Mean(jnp.zeros(()), jnp.zeros(()))
    for batch in evaluation_batches(corpus, Grouped()):
      more, right = guess(module, params, batch)
      sums, correct = sums + more, correct + right
    train = self.pieces(data, "train", tokenizer, cache, progress=False)
    unigram = unigram_scores(train, corpus, tokenizer.size)
    scores: dict[str, float | str] = {
      "loss": float(sums.value),
      "accuracy": float(correct.value),
      "unigram_loss": unigram[0],
      "unigram_accuracy": unigram[1],
      "tokens": float(sums.count),
    }
    return scores, self.samples(module, params, tokenizer, corpus)

  def samples(self, module, params, tokenizer: Tokenizer, corpus: "Guesses") -> Samples:
    """The first texts with all that is to be told masked, as they are filled in, and as
    they were."""
    filler = MaskFiller(module, params, tokenizer, self.context)
    rows = []
    for i in range(min(SHOWN, len(corpus))):
      whole, wanted = corpus.whole(i), corpus[i][1]
      masked = np.where(wanted != PAD, MASK, whole)
      (found,) = filler.guesses([masked], 1)
      filled = masked.copy()
      filled[masked == MASK] = [guesses[0].id for guesses in found]
      texts = (with_masks(tokenizer, ids) for ids in (masked, filled, whole))
      rows.append(tuple(texts))
    return Samples(tuple(rows))  # type: ignore[arg-type]


def mask(batch: Tokens, key, share: float, vocabulary: int) -> tuple[Tokens, Tokens]:
  """What the model reads, and what it is to tell: in the second, all other tokens are
  padding. Both `[b, t]`, and pure functions of the key and of each slot."""
  where_key, how_key, which_key = jax.random.split(key, 3)
  shape = batch.id_bt.shape

  def below(bits_bt, probability: float):
    return bits_bt < jnp.uint32(probability * 2**32)

  chosen_bt = below(hashed_bits(where_key, shape), share)
  chosen_bt &= (batch.seg_bt != 0) & (batch.id_bt >= SPECIAL)
  how_bt = hashed_bits(how_key, shape)
  other_bt = hashed_bits(which_key, shape) % jnp.uint32(vocabulary - SPECIAL)
  other_bt = SPECIAL + other_bt.astype(jnp.int32)
  masked_bt = below(how_bt, OFTEN["mask"])
  changed_bt = below(how_bt, OFTEN["mask"] + OFTEN["other"])
  new_bt = jnp.where(masked_bt, MASK, jnp.where(changed_bt, other_bt, batch.id_bt))
  read = batch._replace(id_bt=jnp.where(chosen_bt, new_bt, batch.id_bt))
  return read, batch._replace(seg_bt=jnp.where(chosen_bt, batch.seg_bt, 0))


class Guesses:
  """The same in evaluation: `guesses[i]` is what is read, and what is to be told with
  `PAD` for all else; a function of the text's number and nothing else."""

  sides = 2

  def __init__(self, texts: Begun, share: float, vocabulary: int):
    self._texts, self._share, self._vocabulary = texts, share, vocabulary
    self.lengths_n2 = np.repeat(texts.lengths_n2, 2, axis=1)

  def __len__(self) -> int:
    return len(self._texts)

  def whole(self, i: int) -> np.ndarray:
    """The text as it was."""
    return np.asarray(self._texts[i][0], np.int32)

  def __getitem__(self, i: int) -> tuple[np.ndarray, np.ndarray]:
    ids, rng = self.whole(i), np.random.default_rng([i])
    open_to = np.flatnonzero(ids >= SPECIAL)
    read, wanted = ids.copy(), np.full_like(ids, PAD)
    if len(open_to):
      count = max(1, round(self._share * len(open_to)))
      places = rng.permutation(open_to)[:count]
      wanted[places] = ids[places]
      how = rng.random(count)
      other = rng.integers(SPECIAL, self._vocabulary, count)
      other = np.where(how < OFTEN["mask"] + OFTEN["other"], other, ids[places])
      read[places] = np.where(how < OFTEN["mask"], MASK, other)
    return read, wanted


@functools.partial(jax.jit, static_argnames="module")
def guess(module, params, batch: Pairs) -> tuple[Mean, Mean]:
  """Nats, and right guesses, of the tokens that are to be told."""
  logits_btv = module.apply({"params": params}, batch.source)
  told = batch.target.id_bt, batch.target.id_bt != PAD
  return cross_entropy(logits_btv, *told), accuracy(logits_btv, *told)


def unigram_scores(
  train: Begun, held_out: Guesses, vocabulary: int
) -> tuple[float, float]:
  """Nats and accuracy of the baseline that knows how frequent each token is in
  training, one added to every count, and tells the most frequent one."""
  seen_v = np.zeros(vocabulary, np.int64)
  for i in range(len(train)):
    np.add.at(seen_v, train[i][0], 1)
  seen_v += 1
  seen_v[:SPECIAL] = 0
  wanted = np.concatenate([held_out[i][1] for i in range(len(held_out))])
  wanted = wanted[wanted != PAD]
  loss = -np.mean(np.log(seen_v[wanted] / seen_v.sum()))
  return float(loss), float(np.mean(wanted == np.argmax(seen_v)))
