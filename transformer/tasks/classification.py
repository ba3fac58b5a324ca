"""Classification: one label for each example, whatever it is."""

import abc
import dataclasses
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import jax
import numpy as np
import tqdm

from transformer.data.batching import Batching, Shape
from transformer.data.pipeline import steps
from transformer.data.sources.base import Source
from transformer.data.vocabulary import Vocabulary, WordVocabulary
from transformer.tasks.base import ACCURACY, LOSS, Metric, Samples, Task, TrainingData
from transformer.training.losses import Mean, cross_entropy

ROWS = 128
"""Examples that are judged at a time: always so many rows, the last batch filled up, so
that every example goes through one and the same program."""


class Examples(Protocol):
  """Labelled examples as arrays of one shape, with random access."""

  def __len__(self) -> int: ...

  @property
  def label_n(self) -> np.ndarray:
    """The label of each, int32."""

  def name(self, i: int) -> str:
    """Which example is meant, for a reader."""

  def batch(self, member_b: np.ndarray, step: int | None = None) -> Any:
    """The arrays of the examples of these numbers, -1 for none: what the model reads,
    with `label_b` and `real_b`, which is 0 where there is none. With a step, as
    training sees them then."""


class Verdict(NamedTuple):
  """What a model says of one example."""

  name: str
  logprob_v: np.ndarray  # float32, of every class
  label: int  # the right one, where it is known


class Answer(NamedTuple):
  """What an input is: the classes by how probable they are, the likeliest first."""

  name: str
  classes: tuple[str, ...]
  probabilities: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Classifying(Task):
  """A task that tells of inputs what they are."""

  verb: ClassVar[str] = "classify"

  @abc.abstractmethod
  def classify(
    self, module, params, vocabulary: Any, inputs: Sequence[str]
  ) -> Iterator[Answer]:
    """What each input is, in order, whatever the others are.

    Raises:
      OSError, ValueError: an input cannot be read.
    """


@dataclasses.dataclass(frozen=True)
class Classification(Classifying):
  """One label for each example.

  The model gives logits `[b, v]`. Held-out scores are the loss in nats an example, the
  share of right answers, and that share for the answer that is most frequent in
  training, which is what knowing nothing is worth. `smoothing` is that of labels, in
  training.
  """

  vocabulary_file: ClassVar[str] = "names.json"
  scores = (LOSS, ACCURACY, Metric("majority_accuracy"), Metric("examples"))

  smoothing: float = 0.0

  @abc.abstractmethod
  def examples(
    self, data: Source, split: str, vocabulary: Any, seed: int = 0
  ) -> Examples:
    """A split of the data; `seed` drives what training draws at random.

    Raises:
      ValueError: the source is of another kind; others as in `Source.open`.
    """

  @abc.abstractmethod
  def read(self, inputs: Sequence[str], vocabulary: Any) -> Examples:
    """What a user gives to `transformer classify`, with no labels."""

  def vocabulary(self, model: bytes) -> Vocabulary:
    return WordVocabulary(model)

  def classes(self, vocabulary: Any) -> Sequence[str]:
    """The name of every label."""
    return vocabulary.names

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

  def evaluate(
    self,
    module,
    params,
    data: Source,
    vocabulary: Any,
    split: str,
    cache: Path,
    progress: bool = True,
  ):
    examples = self.examples(data, split, vocabulary)
    classes, rows = self.classes(vocabulary), []
    loss, right = 0.0, 0
    with tqdm.tqdm(
      total=len(examples), desc=split, leave=False, disable=not progress
    ) as bar:
      for verdict in self.verdicts(module, params, examples):
        choice = int(verdict.logprob_v.argmax())
        loss -= float(verdict.logprob_v[verdict.label])
        right += choice == verdict.label
        rows.append((verdict.name, classes[choice], classes[verdict.label]))
        bar.update()
    train = self.examples(data, "train", vocabulary)
    majority = np.bincount(train.label_n).argmax()
    scores: dict[str, float | str] = {
      "loss": loss / len(examples),
      "accuracy": right / len(examples),
      "majority_accuracy": float(np.mean(examples.label_n == majority)),
      "examples": float(len(examples)),
    }
    return scores, Samples(tuple(rows))

  def classify(
    self, module, params, vocabulary: Any, inputs: Sequence[str]
  ) -> Iterator[Answer]:
    classes, examples = self.classes(vocabulary), self.read(inputs, vocabulary)
    for verdict in self.verdicts(module, params, examples):
      yield answer(verdict.name, classes, np.exp(verdict.logprob_v))

  def verdicts(self, module, params, examples: Examples) -> Iterator[Verdict]:
    """What the model says of every example, in order."""
    for start in range(0, len(examples), ROWS):
      number_b = np.arange(start, start + ROWS)
      member_b = np.where(number_b < len(examples), number_b, -1)
      found_bv = np.asarray(logprobs(module, params, examples.batch(member_b)))
      for i, row in zip(member_b[member_b >= 0], found_bv, strict=False):
        yield Verdict(examples.name(int(i)), row, int(examples.label_n[i]))


def answer(name: str, classes: Sequence[str], probability_v: np.ndarray) -> Answer:
  """The classes of an input by their probabilities; the first of equals first."""
  order = np.argsort(-probability_v, kind="stable")
  return Answer(
    name, tuple(classes[i] for i in order), tuple(probability_v[order].tolist())
  )


def check_rows(shape: Shape) -> None:
  """Raises ValueError if rows have slots for several examples, or for parts of one."""
  if shape.source != 1:
    raise ValueError(
      f"--config.batching: rows of {shape.source} slots are for texts, and examples of "
      "one shape need none; take Rows()"
    )


@functools.partial(jax.jit, static_argnames="module")
def logprobs(module, params, batch):
  """The logarithm of every class' probability, `[b, v]`."""
  return jax.nn.log_softmax(module.apply({"params": params}, batch))
