"""The base class of tasks on texts alone: their tokenizer and training data."""

import abc
import dataclasses
from pathlib import Path
from typing import Any

from transformer.data.assemble import empty_tokens
from transformer.data.batching import Batching, Shape
from transformer.data.corpus import Texts
from transformer.data.pipeline import Examples
from transformer.data.sources.base import Source, TextSource
from transformer.data.tokenizer import Tokenizer, TokenizerRecipe
from transformer.tasks.base import Task, TrainingData, training_data_of


@dataclasses.dataclass(frozen=True)
class TextTask(Task):
  """A task on pieces of texts, of at most `context` tokens."""

  context: int = 128

  def make_vocabulary(self, data: Source, recipe: TokenizerRecipe) -> bytes:
    return train_on_texts(data, recipe)

  def training_data(
    self,
    data: Source,
    tokenizer: Tokenizer,
    batching: Batching,
    seed: int,
    cache: Path,
  ) -> TrainingData:
    pieces = self.pieces(data, "train", tokenizer, cache, progress=True)
    return text_training_data(pieces, tokenizer, batching, seed)

  @abc.abstractmethod
  def pieces(
    self, data: Source, split: str, tokenizer: Tokenizer, cache: Path, progress: bool
  ) -> Texts:
    """The pieces of a split, tokenised once and cached under `cache`."""

  def example(self, shape: Shape) -> Any:
    return empty_tokens(shape.rows, shape.source)


def open_texts(data: Source, split: str):
  """The texts of a split.

  Raises:
    ValueError: the source is not of texts; others as in `Source.open`.
  """
  return text_source(data).open(split)


def text_source(data: Source) -> TextSource:
  """`data` as a source of texts; raises ValueError if it is another."""
  if not isinstance(data, TextSource):
    raise ValueError(
      f"--config.data: expected texts, got {type(data).__name__}, which is of pairs; "
      "take Topics(), PlainText(...) or TfdsText(...)"
    )
  return data


def train_on_texts(data: Source, recipe: TokenizerRecipe) -> bytes:
  """A tokenizer model for the training texts, line by line."""
  texts = open_texts(data, "train")

  def lines():
    for i in range(len(texts)):
      yield from texts[i].split("\n")

  return recipe.train(lines())


def text_training_data(
  examples: Examples, tokenizer: Tokenizer, batching: Batching, seed: int
) -> TrainingData:
  """Training data of pieces of texts.

  Raises:
    ValueError: most of them are longer than the rows of a batch.
  """
  plan = batching.plan(examples.lengths_n2, seed, examples.min_lengths)
  if 2 * len(plan.left_out) > len(examples):
    raise ValueError(
      f"--config.batching: {batching} is too short for {len(plan.left_out):,} of "
      f"{len(examples):,} pieces, of up to {examples.lengths_n2.max():,} tokens; raise "
      "its length to that, or take shorter pieces (--config.task: context, "
      "memory_length)"
    )
  notes = [
    f"{examples.lengths_n2[:, 0].sum():,} training tokens in {len(examples):,} pieces, "
    f"vocabulary {tokenizer.size:,}, {plan.batches:,} steps an epoch, "
    f"{plan.fill(examples.lengths_n2):.0%} of slots filled"
  ]
  notes += plan.left_out.notes(
    "pieces", "of a single token", lambda i: f"piece {i + 1:,}"
  )
  return training_data_of(examples, plan, notes)
