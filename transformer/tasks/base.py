"""What the one training loop asks of a task."""

import abc
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

from flax import linen as nn

from transformer.data.batching import Batching
from transformer.data.sources.base import Source
from transformer.data.tokenizer import SentencePiece, Tokenizer
from transformer.training.losses import Mean


@dataclasses.dataclass(frozen=True)
class Features:
  """Training data of a task, opened and tokenised.

  `batches(start, stop)` yields `(step, batch)`, a pure function of the step;
  `example` is one batch, for its shapes; `steps_per_epoch` and `notes` are for the
  reader.
  """

  batches: Callable[[int, int], Iterator[tuple[int, Any]]]
  example: Any
  steps_per_epoch: int
  notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Samples:
  """Rows of texts to look at: what went in, what came out, what was wanted."""

  rows: tuple[tuple[str, str, str], ...]


@dataclasses.dataclass(frozen=True)
class Task(abc.ABC):
  """The recipe of a task. Subclasses are frozen dataclasses.

  `verb` is the command that uses a run of the task.
  """

  verb: ClassVar[str] = "translate"

  @abc.abstractmethod
  def train_tokenizer(self, data: Source, recipe: SentencePiece) -> bytes:
    """A tokenizer model for the training text of `data`."""

  @abc.abstractmethod
  def features(
    self,
    data: Source,
    tokenizer: Tokenizer,
    batching: Batching,
    seed: int,
    cache: Path,
  ) -> Features:
    """Opens the training data; tokenised text is kept under `cache`."""

  @abc.abstractmethod
  def loss(self, module: nn.Module, params, batch, key) -> Mean:
    """The training loss of one batch; `key` drives dropout, None turns it off."""

  @abc.abstractmethod
  def evaluate(
    self,
    module: nn.Module,
    params,
    data: Source,
    tokenizer: Tokenizer,
    split: str,
    cache: Path,
    progress: bool,
  ) -> tuple[dict[str, float | str], Samples]:
    """Scores of a held-out split by name, and samples."""
