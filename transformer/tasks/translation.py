"""Translation: pairs of texts, smoothed cross-entropy, BLEU on raw references."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sacrebleu
import tqdm

from transformer.batch import Pairs, Tokens
from transformer.data.batching import Batching, Grouped, Shape
from transformer.data.corpus import Corpus
from transformer.data.pipeline import assemble, batches, evaluation_batches, fill
from transformer.data.sources.base import Source
from transformer.data.tokenizer import SentencePiece, Tokenizer
from transformer.inference.search import Search, Searcher
from transformer.tasks.base import (
  LOSS,
  Metric,
  Samples,
  Task,
  TrainingData,
  next_tokens,
)
from transformer.training.losses import CrossEntropy, Mean


@dataclasses.dataclass(frozen=True)
class Translation(Task):
  """One text in, another out.

  `smoothing` is epsilon_ls of §5.4. `search` is how held-out text is decoded while
  training; greedy, because it is quick. `cross_entropy` is a memory setting: how much of the
  logits exists at a time.
  """

  scores = (LOSS, Metric("exact_match"), Metric("bleu"), Metric("chrf"))

  smoothing: float = 0.1
  search: Search = Search(beam=1)
  cross_entropy: CrossEntropy = CrossEntropy()

  def make_vocabulary(self, data: Source, recipe: SentencePiece) -> bytes:
    pairs = data.open("train")

    def texts():
      for i in range(len(pairs)):
        yield from pairs[i]

    return recipe.train(texts())

  def training_data(
    self,
    data: Source,
    tokenizer: Tokenizer,
    batching: Batching,
    seed: int,
    cache: Path,
  ) -> TrainingData:
    corpus = corpus_of(data, "train", tokenizer, cache, progress=True)
    plan = batching.plan(corpus.lengths_n2, seed)
    shape, rows = plan.batch(0)
    notes = [
      f"{len(corpus):,} training pairs, vocabulary {tokenizer.size:,}, "
      f"{plan.batches:,} steps an epoch, {fill(plan, corpus.lengths_n2):.0%} of slots "
      f"filled, shapes {len(plan.shapes)}"
    ]
    if plan.dropped:
      notes.append(
        f"{plan.dropped:,} pairs left out: one side is empty or longer than batching "
        "allows"
      )
    return TrainingData(
      functools.partial(batches, corpus, plan),
      plan.examples,
      assemble(corpus, shape, rows),
      plan.batches,
      tuple(notes),
    )

  def example(self, shape: Shape) -> Pairs:
    def side(slots: int) -> Tokens:
      return Tokens(*(np.zeros((shape.rows, slots), np.int32),) * 3)

    return Pairs(side(shape.source), side(shape.target))

  def loss(self, module, params, batch, key) -> tuple[Mean, Any]:
    smoothing = 0.0 if key is None else self.smoothing
    return next_tokens(
      module, params, batch, batch.target, self.cross_entropy, smoothing, key
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
    corpus = corpus_of(data, split, tokenizer, cache, progress=False)
    pairs = data.open(split)
    scores: dict[str, float | str] = {
      "loss": self.held_out_loss(module, params, corpus)
    }
    sources = [pairs[i].source for i in range(len(pairs))]
    references = [pairs[i].target for i in range(len(pairs))]
    searcher = Searcher(module, params, self.search)
    with tqdm.tqdm(
      total=len(pairs), desc=split, unit=" sentences", leave=False, disable=not progress
    ) as bar:
      outputs = searcher.texts(sources, tokenizer, bar.update)
    scores |= text_scores(outputs, references)
    return scores, Samples(tuple(zip(sources, outputs, references, strict=True)))

  def held_out_loss(self, module, params, corpus: Corpus) -> float:
    """Mean cross-entropy in nats per token, without smoothing and dropout."""
    total = Mean(jnp.zeros(()), jnp.zeros(()))
    for batch in evaluation_batches(corpus, Grouped()):
      total = total + plain_loss(self, module, params, batch)
    return float(total.value)


@functools.partial(jax.jit, static_argnames=("task", "module"))
def plain_loss(task: Translation, module, params, batch) -> Mean:
  """Loss sums of one batch, without smoothing and dropout."""
  return task.loss(module, params, batch, None)[0]


def corpus_of(
  data: Source, split: str, tokenizer: Tokenizer, cache: Path, progress: bool
) -> Corpus:
  """A split of a source, tokenised once and kept under `cache`."""
  return Corpus.build(data, split, tokenizer, cache, progress=progress)


def text_scores(
  outputs: list[str], references: list[str], tokenize: str = "13a"
) -> dict[str, float | str]:
  """sacreBLEU (Post 2018) with its signature, chrF (Popović 2015), exact match and the
  number of sentences, on raw text."""
  bleu = sacrebleu.BLEU(tokenize=tokenize)
  chrf = sacrebleu.CHRF()
  score = bleu.corpus_score(outputs, [references])
  same = [o == r for o, r in zip(outputs, references, strict=True)]
  return {
    "exact_match": float(np.mean(same)),
    "bleu": score.score,
    "bleu_signature": str(bleu.get_signature()),
    "chrf": chrf.corpus_score(outputs, [references]).score,
    "sentences": len(outputs),
  }
