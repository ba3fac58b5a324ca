"""Classification: one label for each example."""

import abc
import dataclasses
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import jax
import numpy as np
import tqdm

from transformer.config import Fraction
from transformer.data.batching import Batching, Shape
from transformer.data.pipeline import steps
from transformer.data.sources.base import Source
from transformer.data.tokenizer import TokenizerRecipe
from transformer.data.vocabulary import Vocabulary, WordVocabulary
from transformer.inference.batches import group_rows
from transformer.inference.devices import Devices
from transformer.tasks.base import (
  ACCURACY,
  LOSS,
  EvaluationInputs,
  Metric,
  Samples,
  Scores,
  Task,
  TrainingData,
)
from transformer.training.losses import Mean, cross_entropy

ROWS = 128
"""Examples in a batch of an evaluation, the last one padded, so that there is one
program."""


class Examples(Protocol):
  """Labelled examples as arrays of one shape, with random access."""

  def __len__(self) -> int: ...

  @property
  def label_n(self) -> np.ndarray:
    """The label of each, int32."""

  def name(self, i: int) -> str:
    """The example's name for a reader."""

  def batch(self, member_b: np.ndarray, step: int | None = None) -> Any:
    """The arrays of the examples of these numbers, -1 for none: the model's inputs,
    `label_b`, and `real_b`, which is 0 where there is none. With a step, augmented as
    in training."""


class Prediction(NamedTuple):
  """The classes of an input by probability, the most probable first."""

  name: str  # of the input
  classes: tuple[str, ...]
  probabilities: tuple[float, ...]


class Unreadable(NamedTuple):
  """An input that cannot be read, and why."""

  name: str
  reason: str  # names the input where that is a file


@dataclasses.dataclass(frozen=True)
class Classification(Task):
  """A task that predicts the class of an input."""

  verb: ClassVar[str] = "classify"

  @abc.abstractmethod
  def classify(
    self,
    module,
    params,
    vocabulary: Any,
    inputs: Sequence[str],
    devices: Devices = Devices(),
  ) -> Iterator[Prediction | Unreadable]:
    """The classes of each input, in order, whatever the others are; `Unreadable` in the
    place of one that cannot be read. A blank text has no classes. `devices` hold the
    parameters."""

  @abc.abstractmethod
  def compile(
    self, module, params, vocabulary: Any, devices: Devices = Devices()
  ) -> Iterator[str]:
    """Compiles the programs of `classify`, by batches of padding: yields the shape of
    each before it is compiled."""


@dataclasses.dataclass(frozen=True)
class ExampleClassification(Classification):
  """One label for each example, where all examples have one shape.

  The model returns logits `[b, v]`. Held-out scores are the loss in nats an example,
  accuracy, and the accuracy of always predicting the most frequent label in training.

  Attributes:
    smoothing: epsilon of label smoothing in training.
  """

  vocabulary_file: ClassVar[str] = "names.json"
  scores = (LOSS, ACCURACY, Metric("majority_accuracy"), Metric("examples"))

  smoothing: Fraction = 0.0

  @abc.abstractmethod
  def examples(
    self, data: Source, split: str, vocabulary: Any, seed: int = 0
  ) -> Examples:
    """A split of the data; `seed` is for augmentation.

    Raises:
      ValueError: the source is of another kind; others as in `Source.open`.
    """

  @abc.abstractmethod
  def read(self, inputs: Sequence[str], vocabulary: Any) -> Examples:
    """The inputs of `transformer classify`, without labels."""

  def vocabulary(self, model: bytes, recipe: TokenizerRecipe) -> Vocabulary:
    return WordVocabulary(model)

  def classes(self, vocabulary: Any) -> Sequence[str]:
    """The name of every label."""
    return vocabulary.words

  def training_data(
    self, data: Source, vocabulary: Any, batching: Batching, seed: int, cache: Path
  ) -> TrainingData:
    examples = self.examples(data, "train", vocabulary, seed)
    plan = batching.plan(np.ones((len(examples), 2), np.int64), seed)

    def assemble(step: int, shape: Shape, rows: np.ndarray):
      return examples.batch(rows[:, 0], step)

    shape, rows = plan.batch(0)
    notes = (
      f"{len(examples):,} training examples of {len(self.classes(vocabulary)):,} "
      f"classes, {plan.batches:,} steps an epoch",
    )
    return TrainingData(
      functools.partial(steps, assemble, plan),
      plan.examples,
      assemble(0, shape, rows),
      plan.batches,
      notes,
    )

  def loss(self, module, params, batch, key) -> tuple[Mean, Any]:
    logits_bv, changed = module.apply(
      {"params": params},
      batch,
      train=key is not None,
      rngs={} if key is None else {"dropout": key},
      mutable=["batch_stats"],
    )
    smoothing = 0.0 if key is None else self.smoothing
    columns = (batch.label_b[:, None], batch.real_b[:, None])
    sums = cross_entropy(logits_bv[:, None, :], *columns, smoothing)
    return sums, changed.get("batch_stats", {})

  def evaluate(self, inputs: EvaluationInputs) -> tuple[Scores, Samples]:
    data, split, vocabulary = inputs.data, inputs.split, inputs.vocabulary
    examples = self.examples(data, split, vocabulary)
    classes, rows = self.classes(vocabulary), []
    loss, correct = 0.0, 0
    with tqdm.tqdm(
      total=len(examples), desc=split, leave=False, disable=not inputs.progress
    ) as bar:
      logprobs = self.logprobs(inputs.module, inputs.params, examples, inputs.devices)
      for i, logprob_v in logprobs:
        predicted, label = int(logprob_v.argmax()), int(examples.label_n[i])
        loss -= float(logprob_v[label])
        correct += predicted == label
        rows.append((examples.name(i), classes[predicted], classes[label]))
        bar.update()
    train = self.examples(data, "train", vocabulary)
    majority = np.bincount(train.label_n).argmax()
    scores: Scores = {
      "loss": loss / len(examples),
      "accuracy": correct / len(examples),
      "majority_accuracy": float(np.mean(examples.label_n == majority)),
      "examples": float(len(examples)),
    }
    return scores, Samples(tuple(rows))

  def classify(
    self, module, params, vocabulary: Any, inputs: Sequence[str], devices=Devices()
  ) -> Iterator[Prediction | Unreadable]:
    classes, rows = self.classes(vocabulary), ROWS * devices.count
    for start in range(0, len(inputs), rows):
      yield from self.classify_batch(
        module, params, vocabulary, inputs[start : start + rows], classes, devices
      )

  def compile(
    self, module, params, vocabulary: Any, devices=Devices()
  ) -> Iterator[str]:
    rows = ROWS * devices.count
    yield f"{rows} examples"
    batch = self.read([], vocabulary).batch(np.full(rows, -1))
    log_softmax(module, params, devices.put(batch))

  def classify_batch(
    self,
    module,
    params,
    vocabulary: Any,
    inputs: Sequence[str],
    classes: Sequence[str],
    devices: Devices,
  ) -> Iterator[Prediction | Unreadable]:
    """`classify` of one batch."""
    results: list[Prediction | Unreadable] = []
    rows, indices = [], []
    for i, text in enumerate(inputs):
      try:
        examples = self.read([text], vocabulary)
        rows.append(examples.batch(np.zeros(1, np.int64)))
      except (OSError, ValueError) as error:
        results.append(Unreadable(text, str(error)))
      else:
        results.append(Prediction(examples.name(0), (), ()))
        indices.append(i)
    if rows:
      missing = ROWS * devices.count - len(rows)
      padding = self.read([], vocabulary).batch(np.full(missing, -1))
      batch = jax.tree.map(lambda *parts: np.concatenate(parts), *rows, padding)
      logprob_bv = devices.fetch(log_softmax(module, params, devices.put(batch)))
      for i, logprob_v in zip(indices, logprob_bv, strict=False):
        results[i] = ranked(results[i].name, classes, np.exp(logprob_v))
    yield from results

  def logprobs(
    self, module, params, examples: Examples, devices: Devices
  ) -> Iterator[tuple[int, np.ndarray]]:
    """The number of every example in order, and the log-probability of every class."""
    for batch in group_rows(range(len(examples)), ROWS * devices.count):
      rows = devices.put(examples.batch(batch.index_b))
      logprob_bv = devices.fetch(log_softmax(module, params, rows))
      yield from zip(batch.indices, logprob_bv, strict=False)


def ranked(name: str, classes: Sequence[str], probability_v: np.ndarray) -> Prediction:
  """The classes of an input by probability; of equals the first one first."""
  order = np.argsort(-probability_v, kind="stable")
  return Prediction(
    name, tuple(classes[i] for i in order), tuple(probability_v[order].tolist())
  )


def check_rows(shape: Shape) -> None:
  """Raises ValueError if the rows of a batch are for tokens."""
  if shape.source != 1:
    raise ValueError(
      f"--config.batching: expected rows of one example, got rows of {shape.source} "
      "tokens; take Rows()"
    )


@functools.partial(jax.jit, static_argnames="module")
def log_softmax(module, params, batch):
  """The log-probability of every class, `[b, v]`."""
  return jax.nn.log_softmax(module.apply({"params": params}, batch))
