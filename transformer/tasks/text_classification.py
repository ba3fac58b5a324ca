"""Classification of texts: one of a few classes each (Devlin et al. 2019, §4.1)."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformer.batch import BOS, Labelled, Pairs, Tokens
from transformer.data.batching import Batching, Grouped, Shape
from transformer.data.corpus import Begun, Corpus
from transformer.data.pipeline import evaluation_batches
from transformer.data.sources.base import LabelledSource, Source
from transformer.data.tokenizer import SentencePiece, Tokenizer
from transformer.inference.fill import ROWS, room
from transformer.models.base import Model
from transformer.models.bert import BertClassifier
from transformer.tasks.base import (
  ACCURACY,
  LOSS,
  Metric,
  Samples,
  TrainingData,
  next_tokens,
)
from transformer.tasks.classification import Answer, Classifying, answer
from transformer.tasks.texts import text_features, train_on_texts
from transformer.training.losses import CrossEntropy, Mean, accuracy, cross_entropy

SHOWN = 8
"""Held-out texts that an evaluation shows with what they were held for."""


@dataclasses.dataclass(frozen=True)
class TextClassification(Classifying):
  """The class of a text, read from its first token, `BOS`.

  Attributes:
    labels: the names of the classes, in the order of their numbers in the data, kept
      here so that the run says them without its data.
    context: tokens of a text, `BOS` counted; of a longer one the rest is not read.
    smoothing: label smoothing in training.
  """

  scores = (LOSS, ACCURACY, Metric("majority_accuracy"), Metric("texts"))

  labels: tuple[str, ...] = ("negative", "positive")
  context: int = 128
  smoothing: float = 0.0

  def __post_init__(self):
    if self.context < 2:
      raise ValueError(f"task.context: {self.context} is less than 2")
    if len(set(self.labels)) < max(2, len(self.labels)):
      raise ValueError(f"task.labels: {self.labels!r} are not two or more, all unlike")

  def check(self, model: Model) -> None:
    if isinstance(model, BertClassifier) and model.classes != len(self.labels):
      raise ValueError(
        f"--config.model.classes: {model.classes}, but the task has "
        f"{len(self.labels)} labels; give --config.model.classes={len(self.labels)}"
      )

  def make_vocabulary(self, data: Source, recipe: SentencePiece) -> bytes:
    return train_on_texts(self.source(data), recipe)

  def source(self, data: Source) -> LabelledSource:
    """`data`, if its classes are the task's.

    Raises:
      ValueError: they are others, or it has none.
    """
    if not isinstance(data, LabelledSource):
      raise ValueError(
        f"--config.data: {type(data).__name__} gives no labels; take DisplayNames() or "
        "TfdsLabelled(...)"
      )
    if data.classes != self.labels:
      raise ValueError(
        f"--config.task.labels: {self.labels!r}, but {type(data).__name__} has "
        f'{data.classes!r}; give --config.task.labels="{data.classes!r}" and '
        f"--config.model.classes={len(data.classes)}"
      )
    return data

  def training_data(
    self,
    data: Source,
    tokenizer: Tokenizer,
    batching: Batching,
    seed: int,
    cache: Path,
  ) -> TrainingData:
    corpus = self.corpus(data, "train", tokenizer, cache, progress=True)
    return text_features(corpus, tokenizer, batching, seed).map(labelled)

  def corpus(
    self, data: Source, split: str, tokenizer: Tokenizer, cache: Path, progress: bool
  ) -> "Classed":
    """A split, tokenised once and kept under `cache`, with its classes."""
    source = self.source(data)
    labels = np.asarray(source.labels(split), np.int32)
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(self.labels):
      raise ValueError(
        f"--config.data: {type(data).__name__} has texts without a label in {split!r}; "
        "take another split"
      )
    texts = Corpus.build(data, split, tokenizer, cache, progress)
    return Classed(Begun(texts, self.context), labels)

  def example(self, shape: Shape) -> Labelled:
    zeros = np.zeros((shape.rows, shape.source), np.int32)
    return Labelled(Tokens(zeros, zeros, zeros), zeros - 1)

  def loss(self, module, params, batch, key) -> tuple[Mean, Any]:
    tokens, class_bt = batch
    target = tokens._replace(
      id_bt=jnp.maximum(class_bt, 0), seg_bt=jnp.where(class_bt < 0, 0, tokens.seg_bt)
    )
    smoothing = 0.0 if key is None else self.smoothing
    return next_tokens(module, params, batch, target, CrossEntropy(), smoothing, key)

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
    corpus = self.corpus(data, split, tokenizer, cache, progress=False)
    sums = correct = Mean(jnp.zeros(()), jnp.zeros(()))
    for batch in evaluation_batches(corpus, Grouped()):
      more, right = judge(module, params, labelled(batch))
      sums, correct = sums + more, correct + right
    train = np.asarray(self.source(data).labels("train"))
    most = np.argmax(np.bincount(train, minlength=len(self.labels)))
    scores: dict[str, float | str] = {
      "loss": float(sums.value),
      "accuracy": float(correct.value),
      "majority_accuracy": float(np.mean(corpus.labels == most)),
      "texts": float(sums.count),
    }
    texts = self.source(data).open(split)
    shown = [texts[i] for i in range(min(SHOWN, len(texts)))]
    rows = [
      (
        one.name,
        f"{one.classes[0]} ({one.probabilities[0]:.2f})",
        self.labels[corpus.labels[i]],
      )
      for i, one in enumerate(self.classify(module, params, tokenizer, shown))
    ]
    return scores, Samples(tuple(rows))

  def classify(
    self, module, params, vocabulary: Any, inputs: Sequence[str]
  ) -> Iterator[Answer]:
    sources = [
      np.concatenate([[BOS], ids])[: self.context] for ids in vocabulary.encode(inputs)
    ]
    found = np.zeros((len(inputs), len(self.labels)), np.float32)
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
        prob_bc = np.asarray(probabilities(module, params, Tokens(*batch)))
        found[part] = prob_bc[: len(part)]
    for text, prob_c in zip(inputs, found, strict=True):
      yield answer(text, self.labels, prob_c)


class Classed:
  """Texts and their classes: `classed[i]` is the ids, and as many numbers, first the
  class and then -1."""

  sides = 2

  def __init__(self, texts: Begun, labels: np.ndarray):
    """Raises ValueError where there are not as many labels as texts."""
    if len(texts) != len(labels):
      raise ValueError(f"{len(labels):,} labels for {len(texts):,} texts")
    self._texts, self.labels = texts, labels
    self.lengths_n2 = np.repeat(texts.lengths_n2, 2, axis=1)

  def __len__(self) -> int:
    return len(self._texts)

  def __getitem__(self, i: int) -> tuple[np.ndarray, np.ndarray]:
    (ids,) = self._texts[i]
    classes = np.full(len(ids), -1, np.int32)
    classes[0] = self.labels[i]
    return ids, classes


def labelled(batch: Pairs) -> Labelled:
  """A batch of `Classed` examples as models read it."""
  tokens, (class_bt, _, seg_bt) = batch
  return Labelled(tokens, np.where(seg_bt == 0, -1, class_bt))


@functools.partial(jax.jit, static_argnames="module")
def judge(module, params, batch: Labelled) -> tuple[Mean, Mean]:
  """Nats, and right answers, of the examples of a batch."""
  logits_btv = module.apply({"params": params}, batch)
  told = jnp.maximum(batch.class_bt, 0), batch.class_bt >= 0
  return cross_entropy(logits_btv, *told), accuracy(logits_btv, *told)


@functools.partial(jax.jit, static_argnames="module")
def probabilities(module, params, tokens: Tokens):
  """The probability of every class for the one example of every row, `[b, c]`."""
  batch = Labelled(tokens, jnp.full(tokens.id_bt.shape, -1))
  return jax.nn.softmax(module.apply({"params": params}, batch)[:, 0])
