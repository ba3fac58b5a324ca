"""The interface of a task to training and evaluation."""

import abc
import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from transformer.batch import Tokens
from transformer.data.batching import Batching, Grouped, Plan, Shape
from transformer.data.pipeline import Examples, batches
from transformer.data.sources.base import Source
from transformer.data.tokenizer import TokenizerRecipe
from transformer.data.vocabulary import Vocabulary
from transformer.inference.batches import evaluation_batches
from transformer.inference.devices import Devices
from transformer.models.base import Model
from transformer.training.losses import CrossEntropy, Mean


@dataclasses.dataclass(frozen=True)
class TrainingData:
  """Training data of a task, opened and tokenised.

  Attributes:
    batches: `batches(start, stop, own)` yields `(step, batch)`, a pure function of the
      step, with the rows for which `own(rows)` is True.
    examples: the numbers of the examples in the batch of a step, ascending.
    example: one batch, for its shapes.
    steps_per_epoch: batches in an epoch.
    notes: lines for the log.
  """

  batches: Callable[[int, int, Callable], Iterator[tuple[int, Any]]]
  examples: Callable[[int], np.ndarray]
  example: Any
  steps_per_epoch: int
  notes: tuple[str, ...]


class Metric(NamedTuple):
  """A held-out score by its name, and whether less of it is better."""

  name: str
  lower_is_better: bool = False

  def rank(self, value: float) -> float:
    """The value as a rank, of which higher is better; the rank's rank is the value. Of
    what is not a number it is minus infinity, the worst."""
    if math.isnan(value):
      return -math.inf
    return -value if self.lower_is_better else value


LOSS = Metric("loss", lower_is_better=True)
PERPLEXITY = Metric("perplexity", lower_is_better=True)
ACCURACY = Metric("accuracy")


@dataclasses.dataclass(frozen=True)
class Samples:
  """Rows of `(input, output, target)` as texts. `example` shows how the task's verb is
  used; the first input, if it is empty."""

  rows: tuple[tuple[str, str, str], ...]
  example: str = ""


Scores = dict[str, float | str]
"""Scores by name, and what is needed to reproduce them, such as a signature."""


@dataclasses.dataclass(frozen=True)
class EvaluationInputs:
  """A model with its parameters, and the held-out data to evaluate it on.

  Attributes:
    module, params: the model.
    data, split: the held-out examples.
    vocabulary: the run's, as `Task.vocabulary` returns it.
    cache: the directory of tokenised text.
    progress: whether to show a progress bar.
    devices: hold the parameters, and share the rows of every batch.
  """

  module: nn.Module
  params: Any
  data: Source
  vocabulary: Any
  split: str
  cache: Path
  progress: bool = True
  devices: Devices = Devices()


@dataclasses.dataclass(frozen=True)
class Task(abc.ABC):
  """The recipe of a task. Subclasses are frozen dataclasses.

  `scores` names the numbers that `evaluate` returns, and `verb` is the command that
  uses a run of the task. A run keeps the vocabulary of its task in `vocabulary_file`;
  with `inherits_vocabulary` it is that of the run `config.init`, if there is one.
  With `trains_on_copies` a tokenizer may divide its training text at random.
  """

  scores: ClassVar[tuple[Metric, ...]]
  verb: ClassVar[str] = "translate"
  vocabulary_file: ClassVar[str] = "tokenizer.model"
  inherits_vocabulary: ClassVar[bool] = True
  trains_on_copies: ClassVar[bool] = False

  def check(self, model: Model) -> None:  # noqa: B027  optional
    """Raises ValueError if a model's sizes are not those of the task."""

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
  def make_vocabulary(self, data: Source, recipe: TokenizerRecipe) -> bytes:
    """A vocabulary for the training part of `data`, as bytes for `vocabulary`."""

  def vocabulary(self, model: bytes, recipe: TokenizerRecipe) -> Vocabulary:
    """Opens what `make_vocabulary` returned.

    Raises:
      ValueError: it is damaged, or of another recipe.
    """
    return recipe.open(model)

  def vocabulary_size(self, data: Source, recipe: TokenizerRecipe) -> int:
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
    """Opens the training data; tokenised text is cached under `cache`."""

  @abc.abstractmethod
  def example(self, shape: Shape) -> Any:
    """A batch of padding, for its structure and shapes."""

  @abc.abstractmethod
  def loss(self, module: nn.Module, params, batch, key) -> tuple[Mean, Any]:
    """The training loss of one batch, and the updated batch statistics; `key` is for
    dropout, None turns training off."""

  @abc.abstractmethod
  def evaluate(self, inputs: EvaluationInputs) -> tuple[Scores, Samples]:
    """Scores of a held-out split by name, and samples."""


def training_data_of(
  examples: Examples, plan: Plan, notes: Sequence[str]
) -> TrainingData:
  """Training data of examples whose batches are the same at every step."""
  return TrainingData(
    functools.partial(batches, examples, plan),
    plan.examples,
    examples.batch(*plan.batch(0)),
    plan.batches,
    tuple(notes),
  )


@functools.partial(jax.jit, static_argnames=("task", "module"))
def evaluation_loss(task: Task, module, params, batch) -> Mean:
  """Loss sums of one batch, without smoothing and dropout."""
  return task.loss(module, params, batch, None)[0]


def mean_loss(
  task: Task, module, params, examples: Examples, devices: Devices = Devices()
) -> Mean:
  """Loss sums of all examples, without smoothing and dropout."""
  sums = Mean(jnp.zeros(()), jnp.zeros(()))
  for batch in evaluation_batches(examples, Grouped(), devices):
    sums = sums + evaluation_loss(task, module, params, batch)
  return sums


def next_tokens(
  module: nn.Module,
  params,
  batch,
  target: Tokens,
  cross_entropy: CrossEntropy,
  smoothing: float,
  key,
) -> tuple[Mean, Any]:
  """The loss of a model with a distribution over each token of `target`, as `Task.loss`
  returns it."""
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
