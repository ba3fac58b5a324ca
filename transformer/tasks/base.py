"""What the one training loop asks of a task."""

import abc
import dataclasses
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from flax import linen as nn

from transformer.batch import Tokens
from transformer.data.batching import Batching, Shape
from transformer.data.sources.base import Source
from transformer.data.tokenizer import SentencePiece, Tokenizer
from transformer.data.vocabulary import Vocabulary
from transformer.models.base import Model
from transformer.training.losses import CrossEntropy, Mean


@dataclasses.dataclass(frozen=True)
class TrainingData:
  """Training data of a task, opened and tokenised.

  `batches(start, stop, own)` yields `(step, batch)`, a pure function of the step, with
  the rows of which `own(rows)` is True; `examples(step)` are the numbers of the
  examples in a batch, ascending; `example` is one batch, for its shapes;
  `steps_per_epoch` and `notes` are for the reader.
  """

  batches: Callable[[int, int, Callable], Iterator[tuple[int, Any]]]
  examples: Callable[[int], np.ndarray]
  example: Any
  steps_per_epoch: int
  notes: tuple[str, ...]

  def map(self, form: Callable[[Any], Any]) -> "TrainingData":
    """The same with every batch in another form."""

    def batches(start: int, stop: int, own: Callable) -> Iterator[tuple[int, Any]]:
      for step, batch in self.batches(start, stop, own):
        yield step, form(batch)

    return dataclasses.replace(self, batches=batches, example=form(self.example))


class Metric(NamedTuple):
  """A held-out score by its name, and whether less of it is better."""

  name: str
  lower_is_better: bool = False

  def rank(self, value: float) -> float:
    """The value as a rank, of which higher is better; the rank's rank is the value."""
    return -value if self.lower_is_better else value


LOSS = Metric("loss", lower_is_better=True)
PERPLEXITY = Metric("perplexity", lower_is_better=True)
ACCURACY = Metric("accuracy")


@dataclasses.dataclass(frozen=True)
class Samples:
  """Rows of texts to look at: what went in, what came out, what was wanted. `example`
  shows how the task's verb is used; a first text, if it is empty."""

  rows: tuple[tuple[str, str, str], ...]
  example: str = ""


@dataclasses.dataclass(frozen=True)
class Task(abc.ABC):
  """The recipe of a task. Subclasses are frozen dataclasses.

  `scores` are the numbers that `evaluate` gives, and `verb` is the command that uses
  a run of the task. A task reads inputs and writes outputs with a vocabulary that its
  run keeps in the file `keeps`: a tokenizer, unless it says otherwise.
  """

  scores: ClassVar[tuple[Metric, ...]]
  verb: ClassVar[str] = "translate"
  vocabulary_file: ClassVar[str] = "tokenizer.model"

  def check(self, model: Model) -> None:  # noqa: B027  most tasks have nothing to say
    """Raises ValueError where a model's sizes are not those of the task."""

  @classmethod
  def metric(cls, name: str) -> Metric:
    """The score of a name.

    Raises:
      ValueError: the task has none of this name.
    """
    for metric in cls.scores:
      if metric.name == name:
        return metric
    raise ValueError(
      f"{name!r} is not a held-out score of {cls.__name__}; there are: "
      f"{', '.join(metric.name for metric in cls.scores)}"
    )

  @abc.abstractmethod
  def make_vocabulary(self, data: Source, recipe: SentencePiece) -> bytes:
    """A vocabulary for the training part of `data`, as bytes for `vocabulary`."""

  def vocabulary(self, model: bytes) -> Vocabulary:
    """Opens what `make_vocabulary` gave.

    Raises:
      ValueError: it is damaged.
    """
    return Tokenizer(model)

  def vocabulary_size(self, data: Source, recipe: SentencePiece) -> int:
    """The size that the vocabulary will have, before it is made."""
    return recipe.vocabulary

  @abc.abstractmethod
  def training_data(
    self,
    data: Source,
    vocabulary: Any,
    batching: Batching,
    seed: int,
    cache: Path,
  ) -> TrainingData:
    """Opens the training data; tokenised text is kept under `cache`."""

  @abc.abstractmethod
  def example(self, shape: Shape) -> Any:
    """A batch of a shape with nothing in it: what `loss` takes, without any data."""

  @abc.abstractmethod
  def loss(self, module: nn.Module, params, batch, key) -> tuple[Mean, Any]:
    """The training loss of one batch, and the model's next running averages; `key`
    drives dropout, None turns training off."""

  @abc.abstractmethod
  def evaluate(
    self,
    module: nn.Module,
    params,
    data: Source,
    vocabulary: Any,
    split: str,
    cache: Path,
    progress: bool,
  ) -> tuple[dict[str, float | str], Samples]:
    """Scores of a held-out split by name, and samples."""


def next_tokens(
  module: nn.Module,
  params,
  batch,
  target: Tokens,
  cross_entropy: CrossEntropy,
  smoothing: float,
  key,
) -> tuple[Mean, Any]:
  """The loss of a model that gives each token of `target` a distribution, as
  `Task.loss` returns it."""
  variables = {"params": params}
  x_btd, changed = module.apply(
    variables,
    batch,
    train=key is not None,
    rngs={} if key is None else {"dropout": key},
    mutable=["batch_stats"],
    method="hidden",
  )
  logits = functools.partial(module.apply, variables, method="logits")
  sums = cross_entropy(logits, x_btd, target.id_bt, target.seg_bt != 0, smoothing)
  return sums, changed.get("batch_stats", {})
