"""Masked language modelling (Devlin et al. 2019, §3.1, task 1)."""

import dataclasses
import functools
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from transformer.batch import MASK, PAD, UNK, Tokens
from transformer.data.assemble import members, pack_tokens, pack_values
from transformer.data.batching import Grouped, Shape
from transformer.data.corpus import Corpus, Pieces, Texts, WithBos
from transformer.data.sources.base import Source
from transformer.data.tokenizer import Tokenizer, TokenizerRecipe
from transformer.data.tokenizers.sentence_piece import SentencePiece
from transformer.inference.batches import evaluation_batches
from transformer.inference.fill import MaskPredictor, fill_in, with_masks
from transformer.layers.dropout import hashed_bits
from transformer.tasks.base import (
  ACCURACY,
  LOSS,
  EvaluationInputs,
  Metric,
  Samples,
  Scores,
  next_tokens,
)
from transformer.tasks.texts import TextTask, open_texts
from transformer.training.losses import CrossEntropy, Mean, accuracy, cross_entropy

FIRST_PIECE = UNK + 1
"""Ids below it are special tokens, which are never masked or sampled."""

NUM_SAMPLES = 6
"""Held-out texts that an evaluation fills in."""

MASKED, RANDOM = 0.8, 0.1
"""The shares of selected tokens that become the mask, or a random token."""


@dataclasses.dataclass(frozen=True)
class MaskedLanguageModelling(TextTask):
  """Tokens selected at random, given all the others of their text.

  Each token but the special ones is selected with probability `mask_rate`; of those 80%
  become the mask, 10% a random token, 10% stay, and all are predicted. The selection is
  another one every time that a text is read (dynamic masking, Liu et al. 2019, §4.1), a
  pure function of the run's seed, the step and the position. In evaluation exactly
  `mask_rate` of a text's tokens are selected, at least one, from its number alone, so
  that scores depend on nothing else.

  A text is cut into pieces of at most `context` tokens, `BOS` counted.

  Attributes:
    context: tokens of a piece.
    mask_rate: the share of tokens that are selected for prediction.
    cross_entropy: how much of the logits exists at a time; memory and speed alone.
  """

  verb: ClassVar[str] = "fill"
  scores = (
    LOSS,
    ACCURACY,
    Metric("unigram_loss", lower_is_better=True),
    Metric("unigram_accuracy"),
    Metric("tokens"),
  )

  mask_rate: float = 0.15
  cross_entropy: CrossEntropy = CrossEntropy()

  def __post_init__(self):
    if self.context < 4:
      raise ValueError(f"task.context: expected 4 or more, got {self.context}")
    if not 0.0 < self.mask_rate < 1.0:
      raise ValueError(
        f"task.mask_rate: expected more than 0 and less than 1, got {self.mask_rate}"
      )

  def make_vocabulary(self, data: Source, recipe: TokenizerRecipe) -> bytes:
    if isinstance(recipe, SentencePiece) and not recipe.byte_fallback:
      raise ValueError(
        "--config.tokenizer.byte_fallback: expected True, got False: the mask has the "
        "id of unknown characters"
      )
    return super().make_vocabulary(data, recipe)

  def pieces(
    self, data: Source, split: str, tokenizer: Tokenizer, cache: Path, progress: bool
  ) -> WithBos:
    open_texts(data, split)
    texts = Corpus.build(data, split, tokenizer, cache, progress)
    return WithBos(Pieces(texts, self.context - 1), self.context)

  def loss(self, module, params, batch, key) -> tuple[Mean, Any]:
    mask_key, dropout_key = jax.random.split(jax.random.key(0) if key is None else key)
    masked, target = mask(batch, mask_key, self.mask_rate, module.vocabulary)
    if key is None:
      dropout_key = None
    return next_tokens(
      module, params, masked, target, self.cross_entropy, 0.0, dropout_key
    )

  def evaluate(self, inputs: EvaluationInputs) -> tuple[Scores, Samples]:
    data, tokenizer, cache = inputs.data, inputs.vocabulary, inputs.cache
    pieces = self.pieces(data, inputs.split, tokenizer, cache, progress=False)
    train = self.pieces(data, "train", tokenizer, cache, progress=False)
    masked = MaskedTexts(pieces, self.mask_rate, tokenizer.size)
    sums = correct = Mean(jnp.zeros(()), jnp.zeros(()))
    for batch in evaluation_batches(masked, Grouped(), inputs.devices):
      batch_sums, batch_correct = score_batch(inputs.module, inputs.params, batch)
      sums, correct = sums + batch_sums, correct + batch_correct
    unigram_loss, unigram_accuracy = unigram_scores(train, masked, tokenizer.size)
    scores: Scores = {
      "loss": float(sums.value),
      "accuracy": float(correct.value),
      "unigram_loss": unigram_loss,
      "unigram_accuracy": unigram_accuracy,
      "tokens": float(sums.count),
    }
    return scores, self.samples(inputs, masked)

  def samples(self, inputs: EvaluationInputs, masked: "MaskedTexts") -> Samples:
    """The first texts with all of their targets masked, filled in, and as they were."""
    tokenizer = inputs.vocabulary
    predictor = MaskPredictor(
      inputs.module, inputs.params, tokenizer, self.context, inputs.devices
    )
    rows = []
    for i in range(min(NUM_SAMPLES, len(masked))):
      text, target = masked.text(i), masked[i].target
      ids = np.where(target != PAD, MASK, text)
      (predictions,) = predictor.predict([ids], 1)
      filled = fill_in(ids, predictions)
      rows.append(tuple(with_masks(tokenizer, each) for each in (ids, filled, text)))
    return Samples(tuple(rows))  # type: ignore[arg-type]


def mask(
  batch: Tokens, key, mask_rate: float, vocabulary: int
) -> tuple[Tokens, Tokens]:
  """The masked texts, and their targets, of which all tokens but those to predict are
  padding. Both `[b, t]`, and pure functions of the key and of each position."""
  select_key, how_key, which_key = jax.random.split(key, 3)
  shape = batch.id_bt.shape

  def below(bits_bt, probability: float):
    return bits_bt < jnp.uint32(probability * 2**32)

  selected_bt = below(hashed_bits(select_key, shape), mask_rate)
  selected_bt &= (batch.seg_bt != 0) & (batch.id_bt >= FIRST_PIECE)
  how_bt = hashed_bits(how_key, shape)
  random_bt = hashed_bits(which_key, shape) % jnp.uint32(vocabulary - FIRST_PIECE)
  random_bt = FIRST_PIECE + random_bt.astype(jnp.int32)
  masked_bt = below(how_bt, MASKED)
  changed_bt = below(how_bt, MASKED + RANDOM)
  new_bt = jnp.where(masked_bt, MASK, jnp.where(changed_bt, random_bt, batch.id_bt))
  masked = batch._replace(id_bt=jnp.where(selected_bt, new_bt, batch.id_bt))
  return masked, batch._replace(seg_bt=jnp.where(selected_bt, batch.seg_bt, 0))


class MaskedText(NamedTuple):
  """The ids of a masked text, and the ids to predict, `PAD` at all other tokens."""

  ids: np.ndarray
  target: np.ndarray


class MaskedBatch(NamedTuple):
  """Masked texts, and the ids to predict, int32 `[b, t]`, `PAD` at all other tokens."""

  tokens: Tokens
  target_bt: Any


class MaskedTexts:
  """The masked texts of an evaluation; each depends on its number alone."""

  min_lengths = (2,)

  def __init__(self, texts: Texts, mask_rate: float, vocabulary: int):
    self._texts, self._mask_rate, self._vocabulary = texts, mask_rate, vocabulary
    self.lengths_n2 = texts.lengths_n2

  def __len__(self) -> int:
    return len(self._texts)

  def text(self, i: int) -> np.ndarray:
    """The ids before masking."""
    return np.asarray(self._texts[i], np.int32)

  def __getitem__(self, i: int) -> MaskedText:
    text, rng = self.text(i), np.random.default_rng([i])
    maskable = np.flatnonzero(text >= FIRST_PIECE)
    ids, target = text.copy(), np.full_like(text, PAD)
    if len(maskable):
      count = max(1, round(self._mask_rate * len(maskable)))
      selected = rng.permutation(maskable)[:count]
      target[selected] = text[selected]
      how = rng.random(count)
      other = rng.integers(FIRST_PIECE, self._vocabulary, count)
      other = np.where(how < MASKED + RANDOM, other, text[selected])
      ids[selected] = np.where(how < MASKED, MASK, other)
    return MaskedText(ids, target)

  def batch(self, shape: Shape, example_bm: np.ndarray) -> MaskedBatch:
    """The texts of these numbers, -1 for none."""
    rows = [[self[i] for i in row] for row in members(example_bm)]
    return MaskedBatch(
      pack_tokens([[text.ids for text in row] for row in rows], shape.source),
      pack_values([[text.target for text in row] for row in rows], shape.source, PAD),
    )


@functools.partial(jax.jit, static_argnames="module")
def score_batch(module, params, batch: MaskedBatch) -> tuple[Mean, Mean]:
  """Nats, and correct predictions, of the masked tokens."""
  logits_btv = module.apply({"params": params}, batch.tokens)
  weight_bt = batch.target_bt != PAD
  return (
    cross_entropy(logits_btv, batch.target_bt, weight_bt),
    accuracy(logits_btv, batch.target_bt, weight_bt),
  )


def unigram_scores(
  train: Texts, held_out: MaskedTexts, vocabulary: int
) -> tuple[float, float]:
  """Nats and accuracy of the unigram model of the training tokens, with add-one
  smoothing, on the masked tokens."""
  count_v = np.zeros(vocabulary, np.int64)
  for i in range(len(train)):
    np.add.at(count_v, train[i], 1)
  count_v += 1
  count_v[:FIRST_PIECE] = 0
  target = np.concatenate([held_out[i].target for i in range(len(held_out))])
  target = target[target != PAD]
  loss = -np.mean(np.log(count_v[target] / count_v.sum()))
  return float(loss), float(np.mean(target == np.argmax(count_v)))
