"""Language modelling: the next token of a text, perplexity, continuations."""

import dataclasses
import itertools
import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from transformer.config import Fraction
from transformer.data.corpus import Corpus, Pieces
from transformer.data.sources.base import Source
from transformer.data.tokenizer import Tokenizer
from transformer.inference.generate import Generation, TextGenerator
from transformer.tasks.base import (
  LOSS,
  PERPLEXITY,
  EvaluationInputs,
  Metric,
  Samples,
  Scores,
  mean_loss,
  next_tokens,
)
from transformer.tasks.texts import TextTask, open_texts
from transformer.training.losses import CrossEntropy, Mean

NUM_SAMPLES = 3
"""Held-out texts that an evaluation continues."""


@dataclasses.dataclass(frozen=True)
class LanguageModelling(TextTask):
  """The next token of a text, in pieces of texts.

  A text is cut into pieces of at most `context` tokens, each an example of its own: the
  model sees nothing before its piece, in training and in evaluation alike, so the
  perplexity is that of a model with at most this much context.

  Attributes:
    context: tokens of a piece.
    smoothing: label smoothing in training.
    cross_entropy: how much of the logits exists at a time; memory and speed alone.
    generation: how evaluation continues the beginnings of held-out texts.
    start_token: whether a prompt is continued after the model's start token, as it was
      trained; without, the token stands before an empty prompt alone, as in GPT-2.
  """

  verb: ClassVar[str] = "generate"
  scores = (
    LOSS,
    PERPLEXITY,
    Metric("unigram_perplexity", lower_is_better=True),
    Metric("bits_per_character", lower_is_better=True),
    Metric("tokens"),
  )

  smoothing: Fraction = 0.0
  cross_entropy: CrossEntropy = CrossEntropy()
  generation: Generation = Generation(max_length=48)
  start_token: bool = True

  def __post_init__(self):
    if self.context < 2:
      raise ValueError(f"task.context: expected 2 or more, got {self.context}")

  @property
  def generation_context(self) -> int:
    """The longest text that is generated, in tokens: as much as a token sees in
    training."""
    return self.context

  def pieces(
    self, data: Source, split: str, tokenizer: Tokenizer, cache: Path, progress: bool
  ) -> Pieces:
    open_texts(data, split)
    return Pieces(Corpus.build(data, split, tokenizer, cache, progress), self.context)

  def loss(self, module, params, batch, key) -> tuple[Mean, Any]:
    smoothing = 0.0 if key is None else self.smoothing
    return next_tokens(module, params, batch, batch, self.cross_entropy, smoothing, key)

  def evaluate(self, inputs: EvaluationInputs) -> tuple[Scores, Samples]:
    data, split, tokenizer = inputs.data, inputs.split, inputs.vocabulary
    pieces = self.pieces(data, split, tokenizer, inputs.cache, progress=False)
    train = self.pieces(data, "train", tokenizer, inputs.cache, progress=False)
    sums = self.held_out_loss(inputs)
    loss, total = float(sums.value), float(sums.total)
    texts = open_texts(data, split)
    characters = sum(len(texts[i]) for i in range(len(texts)))
    scores: Scores = {
      "loss": loss,
      "perplexity": math.exp(loss),
      "unigram_perplexity": math.exp(unigram_loss(train, pieces, tokenizer.size)),
      "bits_per_character": total / math.log(2) / characters,
      "tokens": float(sums.count),
    }
    return scores, self.samples(inputs, pieces)

  def held_out_loss(self, inputs: EvaluationInputs) -> Mean:
    """Loss sums of a split."""
    pieces = self.pieces(
      inputs.data, inputs.split, inputs.vocabulary, inputs.cache, progress=False
    )
    return mean_loss(self, inputs.module, inputs.params, pieces, inputs.devices)

  def samples(self, inputs: EvaluationInputs, pieces: Pieces) -> Samples:
    """Continuations of the first tokens of the first pieces, and the pieces."""
    tokenizer = inputs.vocabulary
    generator = TextGenerator(
      inputs.module, inputs.params, tokenizer, self.generation, self.context,
      inputs.devices, self.start_token,
    )  # fmt: skip
    max_prompt = self.context - (self.generation.max_length or self.context // 2)
    shown = [pieces[i] for i in range(min(NUM_SAMPLES, len(pieces)))]
    prompts = tokenizer.decode([ids[: min(max_prompt, len(ids) // 2)] for ids in shown])
    # A decoded prompt may encode to more tokens than it had.
    fits = [len(ids) <= max_prompt + 1 for ids in tokenizer.encode(prompts)]
    prompts = list(itertools.compress(prompts, fits))
    targets = itertools.compress(tokenizer.decode(shown), fits)
    outputs = [texts[0] for texts in generator.texts(prompts)]
    return Samples(tuple(zip(prompts, outputs, targets, strict=True)))


def unigram_loss(train: Pieces, held_out: Pieces, vocabulary: int) -> float:
  """Nats a token of the unigram model of the training tokens, with add-one
  smoothing."""

  def counts(pieces):
    ids = np.concatenate([pieces[i] for i in range(len(pieces))])
    return np.bincount(ids, minlength=vocabulary)

  train_v, held_out_v = counts(train) + 1, counts(held_out)
  logprob_v = np.log(train_v / train_v.sum())
  return float(-(held_out_v @ logprob_v) / held_out_v.sum())
