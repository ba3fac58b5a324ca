"""Classification of texts: one of a few classes each (Devlin et al. 2019, §4.1)."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformer.batch import BOS, Labelled, Tokens
from transformer.config import Fraction
from transformer.data.assemble import (
  empty_tokens,
  members,
  pack_tokens,
  pack_values,
)
from transformer.data.batching import Batching, Grouped, Shape
from transformer.data.corpus import Corpus, Texts, WithBos
from transformer.data.sources.base import LabelledSource, Source
from transformer.data.tokenizer import Tokenizer, TokenizerRecipe
from transformer.inference.batches import (
  TEXT_LENGTHS,
  evaluation_batches,
  group,
  pad_tokens,
)
from transformer.inference.devices import Devices
from transformer.inference.fill import ROWS
from transformer.models.base import Model
from transformer.models.bert import BertClassifier
from transformer.tasks.base import (
  ACCURACY,
  LOSS,
  EvaluationInputs,
  Metric,
  Samples,
  Scores,
  TrainingData,
  next_tokens,
)
from transformer.tasks.classification import (
  Classification,
  Prediction,
  Unreadable,
  ranked,
)
from transformer.tasks.texts import text_training_data, train_on_texts
from transformer.training.losses import CrossEntropy, Mean, accuracy, cross_entropy

NUM_SAMPLES = 8
"""Held-out texts that an evaluation shows with their predicted classes."""


@dataclasses.dataclass(frozen=True)
class TextClassification(Classification):
  """The class of a text, predicted at its first token, `BOS`.

  Attributes:
    labels: the names of the classes, in the order of their numbers in the data; here,
      so that a run does not need its data to name them.
    context: tokens of a text, `BOS` counted; longer texts are cut.
    smoothing: label smoothing in training.
  """

  scores = (LOSS, ACCURACY, Metric("majority_accuracy"), Metric("texts"))

  labels: tuple[str, ...] = ("negative", "positive")
  context: int = 128
  smoothing: Fraction = 0.0

  def __post_init__(self):
    if self.context < 2:
      raise ValueError(f"task.context: expected 2 or more, got {self.context}")
    if len(set(self.labels)) < max(2, len(self.labels)):
      raise ValueError(
        f"task.labels: expected 2 or more different names, got {self.labels!r}"
      )

  def check(self, model: Model) -> None:
    if isinstance(model, BertClassifier) and model.classes != len(self.labels):
      raise ValueError(
        f"--config.model.classes: {model.classes}, but the task has "
        f"{len(self.labels)} labels; give --config.model.classes={len(self.labels)}"
      )

  def make_vocabulary(self, data: Source, recipe: TokenizerRecipe) -> bytes:
    return train_on_texts(self.source(data), recipe)

  def source(self, data: Source) -> LabelledSource:
    """`data`, if its classes are the task's.

    Raises:
      ValueError: it has other classes, or none.
    """
    if not isinstance(data, LabelledSource):
      raise ValueError(
        f"--config.data: {type(data).__name__} has no labels; take DisplayNames() or "
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
    texts = self.texts(data, "train", tokenizer, cache, progress=True)
    return text_training_data(texts, tokenizer, batching, seed)

  def texts(
    self, data: Source, split: str, tokenizer: Tokenizer, cache: Path, progress: bool
  ) -> "LabelledTexts":
    """The texts of a split, tokenised once and cached under `cache`, with their
    classes."""
    source = self.source(data)
    labels = np.asarray(source.labels(split), np.int32)
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(self.labels):
      raise ValueError(
        f"--config.data: {type(data).__name__} has texts without a label in {split!r}; "
        "take another split"
      )
    texts = Corpus.build(data, split, tokenizer, cache, progress)
    return LabelledTexts(WithBos(texts, self.context), labels)

  def example(self, shape: Shape) -> Labelled:
    tokens = empty_tokens(shape.rows, shape.source)
    return Labelled(tokens, np.full_like(tokens.id_bt, -1))

  def loss(self, module, params, batch, key) -> tuple[Mean, Any]:
    tokens, class_bt = batch
    target = tokens._replace(
      id_bt=jnp.maximum(class_bt, 0), seg_bt=jnp.where(class_bt < 0, 0, tokens.seg_bt)
    )
    smoothing = 0.0 if key is None else self.smoothing
    return next_tokens(module, params, batch, target, CrossEntropy(), smoothing, key)

  def evaluate(self, inputs: EvaluationInputs) -> tuple[Scores, Samples]:
    module, params, tokenizer = inputs.module, inputs.params, inputs.vocabulary
    data, split = inputs.data, inputs.split
    examples = self.texts(data, split, tokenizer, inputs.cache, progress=False)
    sums = correct = Mean(jnp.zeros(()), jnp.zeros(()))
    for batch in evaluation_batches(examples, Grouped(), inputs.devices):
      batch_sums, batch_correct = score_batch(module, params, batch)
      sums, correct = sums + batch_sums, correct + batch_correct
    train_labels = np.asarray(self.source(data).labels("train"))
    majority = np.argmax(np.bincount(train_labels, minlength=len(self.labels)))
    scores: Scores = {
      "loss": float(sums.value),
      "accuracy": float(correct.value),
      "majority_accuracy": float(np.mean(examples.labels == majority)),
      "texts": float(sums.count),
    }
    texts = self.source(data).open(split)
    shown = [texts[i] for i in range(min(NUM_SAMPLES, len(texts)))]
    predictions = self.classify(module, params, tokenizer, shown, inputs.devices)
    rows = [
      (
        prediction.name,
        f"{prediction.classes[0]} ({prediction.probabilities[0]:.2f})",
        self.labels[label],
      )
      for prediction, label in zip(predictions, examples.labels, strict=False)
      if isinstance(prediction, Prediction) and prediction.classes
    ]
    return scores, Samples(tuple(rows))

  def classify(
    self, module, params, vocabulary: Any, inputs: Sequence[str], devices=Devices()
  ) -> Iterator[Prediction | Unreadable]:
    results: list[Prediction | Unreadable] = [Prediction(t, (), ()) for t in inputs]
    sources: dict[int, np.ndarray] = {}
    for i, text in enumerate(inputs):
      try:
        (ids,) = vocabulary.encode([text])
      except ValueError as error:
        results[i] = Unreadable(text, str(error))
      else:
        if len(ids) > 1:
          sources[i] = np.concatenate([[BOS], ids])[: self.context]
    order = list(sources)
    padded = [TEXT_LENGTHS.round_up(len(sources[i])) for i in order]
    for length, rows, chosen in group(padded, lambda _: (ROWS * devices.count,)):
      indices = [order[n] for n in chosen]
      tokens = pad_tokens([sources[i] for i in indices], rows, length)
      prob_bc = devices.fetch(probabilities(module, params, devices.put(tokens)))
      for i, prob_c in zip(indices, prob_bc, strict=False):
        results[i] = ranked(inputs[i], self.labels, prob_c)
    yield from results

  def compile(
    self, module, params, vocabulary: Any, devices=Devices()
  ) -> Iterator[str]:
    rows = ROWS * devices.count
    for length in TEXT_LENGTHS.up_to(self.context):
      yield f"{rows} x {length} tokens"
      probabilities(module, params, devices.put(pad_tokens([], rows, length)))


class LabelledTexts:
  """Texts and their classes."""

  min_lengths = (2,)

  def __init__(self, texts: Texts, labels: np.ndarray):
    """Raises ValueError if there are not as many labels as texts."""
    if len(texts) != len(labels):
      raise ValueError(f"labels: expected {len(texts):,}, got {len(labels):,}")
    self._texts, self.labels = texts, labels
    self.lengths_n2 = texts.lengths_n2

  def __len__(self) -> int:
    return len(self._texts)

  def batch(self, shape: Shape, example_bm: np.ndarray) -> Labelled:
    """The texts of these numbers, -1 for none, each with its class at its first
    token."""
    rows = list(members(example_bm))
    texts = [[self._texts[i] for i in row] for row in rows]
    classes = [
      [
        np.append(self.labels[i], np.full(len(ids) - 1, -1))
        for i, ids in zip(*pair, strict=True)
      ]
      for pair in zip(rows, texts, strict=True)
    ]
    return Labelled(
      pack_tokens(texts, shape.source), pack_values(classes, shape.source, -1)
    )


@functools.partial(jax.jit, static_argnames="module")
def score_batch(module, params, batch: Labelled) -> tuple[Mean, Mean]:
  """Nats, and correct predictions, of the examples of a batch."""
  logits_btv = module.apply({"params": params}, batch)
  target_bt, weight_bt = jnp.maximum(batch.class_bt, 0), batch.class_bt >= 0
  return (
    cross_entropy(logits_btv, target_bt, weight_bt),
    accuracy(logits_btv, target_bt, weight_bt),
  )


@functools.partial(jax.jit, static_argnames="module")
def probabilities(module, params, tokens: Tokens):
  """The probability of every class for the one example of every row, `[b, c]`."""
  batch = Labelled(tokens, jnp.full(tokens.id_bt.shape, -1))
  return jax.nn.softmax(module.apply({"params": params}, batch)[:, 0])
