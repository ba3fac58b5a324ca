"""What the tasks over texts alone have in common: their texts, tokenizer, training
data."""

import abc
import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np

from transformer.batch import Tokens
from transformer.data.batching import Batching, Shape
from transformer.data.pipeline import Examples, assemble, batches, fill
from transformer.data.sources.base import Source, TextSource
from transformer.data.tokenizer import SentencePiece, Tokenizer
from transformer.tasks.base import Task, TrainingData


@dataclasses.dataclass(frozen=True)
class TextTask(Task):
  """A task whose examples are pieces of texts, of at most `context` tokens."""

  context: int = 128

  def make_vocabulary(self, data: Source, recipe: SentencePiece) -> bytes:
    return train_on_texts(data, recipe)

  def training_data(
    self,
    data: Source,
    tokenizer: Tokenizer,
    batching: Batching,
    seed: int,
    cache: Path,
  ) -> TrainingData:
    corpus = self.pieces(data, "train", tokenizer, cache, progress=True)
    return text_features(corpus, tokenizer, batching, seed)

  @abc.abstractmethod
  def pieces(
    self, data: Source, split: str, tokenizer: Tokenizer, cache: Path, progress: bool
  ) -> Examples:
    """A split, tokenised once and kept under `cache`, in pieces."""

  def example(self, shape: Shape) -> Any:
    return Tokens(*(np.zeros((shape.rows, shape.source), np.int32),) * 3)


def open_texts(data: Source, split: str):
  """The texts of a split.

  Raises:
    ValueError: the source gives no texts; others as in `Source.open`.
  """
  return text_source(data).open(split)


def text_source(data: Source) -> TextSource:
  """`data` as a source of texts; raises ValueError if it is none."""
  if not isinstance(data, TextSource):
    raise ValueError(
      f"--config.data: {type(data).__name__} gives pairs of texts, and this task reads "
      "texts; take Topics(), PlainText(...) or TfdsText(...)"
    )
  return data


def train_on_texts(data: Source, recipe: SentencePiece) -> bytes:
  """A tokenizer model for the training texts, line by line."""
  texts = open_texts(data, "train")

  def lines():
    for i in range(len(texts)):
      yield from texts[i].split("\n")

  return recipe.train(lines())


def text_features(
  corpus: Examples, tokenizer: Tokenizer, batching: Batching, seed: int
) -> TrainingData:
  """Training data of a corpus, every example of which is a piece of a text.

  Raises:
    ValueError: batches have no room for most of them.
  """
  plan = batching.plan(corpus.lengths_n2, seed)
  if 2 * plan.dropped > len(corpus):
    raise ValueError(
      f"--config.batching: {batching} has no room for {plan.dropped:,} of "
      f"{len(corpus):,} pieces, of up to {corpus.lengths_n2.max():,} tokens; raise its "
      "length to that, or take shorter pieces (--config.task: context, before)"
    )
  shape, rows = plan.batch(0)
  notes = [
    f"{corpus.lengths_n2[:, 0].sum():,} training tokens in {len(corpus):,} pieces, "
    f"vocabulary {tokenizer.size:,}, {plan.batches:,} steps an epoch, "
    f"{fill(plan, corpus.lengths_n2):.0%} of slots filled"
  ]
  if plan.dropped:
    notes.append(
      f"{plan.dropped:,} pieces left out: of a single token, or longer than batching "
      "allows"
    )
  return TrainingData(
    functools.partial(batches, corpus, plan),
    plan.examples,
    assemble(corpus, shape, rows),
    plan.batches,
    tuple(notes),
  )
