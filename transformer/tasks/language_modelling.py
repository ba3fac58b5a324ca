"""Language modelling: the next token of a text, perplexity, continuations."""

import dataclasses
import functools
import math
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from transformer.data.batching import Grouped
from transformer.data.corpus import Corpus, Pieces
from transformer.data.pipeline import evaluation_batches
from transformer.data.sources.base import Source
from transformer.data.tokenizer import Tokenizer
from transformer.inference.generate import Generation, TextGenerator
from transformer.tasks.base import LOSS, PERPLEXITY, Metric, Samples, next_tokens
from transformer.tasks.texts import TextTask, open_texts
from transformer.training.losses import CrossEntropy, Mean

SHOWN = 3
"""Continuations of held-out texts that an evaluation writes."""


@dataclasses.dataclass(frozen=True)
class LanguageModelling(TextTask):
  """Each token given those before it, in pieces of texts.

  A text is cut into pieces of at most `context` tokens, each an example of its own: the
  model sees nothing before its piece, in training and in evaluation alike, so the
  perplexity is that of a model with this much context and less.

  Attributes:
    context: tokens of a piece.
    smoothing: label smoothing in training.
    cross_entropy: from what the model makes of the tokens to the loss; speed and memory.
    generation: how evaluation goes on with the beginnings of held-out texts.
  """

  verb: ClassVar[str] = "generate"
  scores = (
    LOSS,
    PERPLEXITY,
    Metric("unigram_perplexity", lower_is_better=True),
    Metric("bits_per_character", lower_is_better=True),
    Metric("tokens"),
  )

  smoothing: float = 0.0
  cross_entropy: CrossEntropy = CrossEntropy()
  generation: Generation = Generation(max_length=48)

  def __post_init__(self):
    if self.context < 2:
      raise ValueError(f"task.context: {self.context} is less than 2")

  def pieces(
    self, data: Source, split: str, tokenizer: Tokenizer, cache: Path, progress: bool
  ) -> Pieces:
    open_texts(data, split)
    return Pieces(Corpus.build(data, split, tokenizer, cache, progress), self.context)

  def loss(self, module, params, batch, key) -> tuple[Mean, Any]:
    smoothing = 0.0 if key is None else self.smoothing
    return next_tokens(module, params, batch, batch, self.cross_entropy, smoothing, key)

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
    corpus = self.pieces(data, split, tokenizer, cache, progress=False)
    sums = self.held_out_loss(module, params, data, tokenizer, split, cache)
    loss, total = float(sums.value), float(sums.total)
    texts = open_texts(data, split)
    characters = sum(len(texts[i]) for i in range(len(texts)))
    train = self.pieces(data, "train", tokenizer, cache, progress=False)
    scores: dict[str, float | str] = {
      "loss": loss,
      "perplexity": math.exp(loss),
      "unigram_perplexity": math.exp(unigram_loss(train, corpus, tokenizer.size)),
      "bits_per_character": total / math.log(2) / characters,
      "tokens": float(sums.count),
    }
    return scores, self.samples(module, params, tokenizer, corpus)

  def held_out_loss(
    self, module, params, data: Source, tokenizer: Tokenizer, split: str, cache: Path
  ) -> Mean:
    """Loss sums of a split."""
    corpus = self.pieces(data, split, tokenizer, cache, progress=False)
    sums = Mean(jnp.zeros(()), jnp.zeros(()))
    for batch in evaluation_batches(corpus, Grouped()):
      sums = sums + plain_loss(self, module, params, batch)
    return sums

  def samples(self, module, params, tokenizer: Tokenizer, corpus: Pieces) -> Samples:
    """What the first pieces' first tokens become, beside what they were."""
    continuer = TextGenerator(module, params, tokenizer, self.generation, self.context)
    room = self.context - self.generation.max_length
    shown = [corpus[i][0] for i in range(min(SHOWN, len(corpus)))]
    prompts = tokenizer.decode([ids[: min(room, len(ids) // 2)] for ids in shown])
    # Tokenised again, a beginning may take more tokens than it had.
    fitting = [len(ids) <= room + 1 for ids in tokenizer.encode(prompts)]
    prompts = [p for p, fits in zip(prompts, fitting, strict=True) if fits]
    outputs = [texts[0] for texts in continuer.texts(prompts)]
    wanted = [w for w, f in zip(tokenizer.decode(shown), fitting, strict=True) if f]
    return Samples(tuple(zip(prompts, outputs, wanted, strict=True)))


@functools.partial(jax.jit, static_argnames=("task", "module"))
def plain_loss(task: LanguageModelling, module, params, batch) -> Mean:
  """Loss sums of one batch, without smoothing and dropout."""
  return task.loss(module, params, batch, None)[0]


def unigram_loss(train: Pieces, held_out: Pieces, vocabulary: int) -> float:
  """Nats a token of the baseline that knows how frequent each token is, one added to
  every count, and nothing else."""

  def counts(pieces):
    ids = np.concatenate([pieces[i][0] for i in range(len(pieces))])
    return np.bincount(ids, minlength=vocabulary)

  seen_v, wanted_v = counts(train) + 1, counts(held_out)
  logprob_v = np.log(seen_v / seen_v.sum())
  return float(-(wanted_v @ logprob_v) / wanted_v.sum())
