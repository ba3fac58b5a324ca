"""A run: the one way to open what training leaves behind.

A run is a directory that is complete in itself and may be copied anywhere:

  config.json        the experiment
  tokenizer.model    SentencePiece, or the files of an imported tokenizer; names.json,
                     the classes, where a task has these
  checkpoints/       Orbax; parameters apart from the rest, each with its checksums
  metrics.csv        step,name,value
  samples.json       outputs of the newest evaluation, with inputs and references
  tensorboard/       the same numbers
  report.md          curves, scores, samples and commands, at the end
  cache/             tokenised text; may be deleted
  huggingface/       of an imported model, and of what is trained from it: the files
                     that are needed to write it back

Opening one executes nothing from it.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
from flax import linen as nn

from transformer import config as configs
from transformer.data.tokenizer import Tokenizer
from transformer.data.vocabulary import Vocabulary
from transformer.experiment import Config
from transformer.inference.devices import Devices
from transformer.layers.int8 import quantise
from transformer.runs.directory import check_inside, read_inside
from transformer.training.checkpoint_reader import (
  CheckpointMismatch,
  read_note,
  read_params,
  steps_in,
)

if TYPE_CHECKING:
  from transformer.training.checkpoint import Checkpoints

HUGGINGFACE = "huggingface"
"""The part of a run that has what Hugging Face's classes need beside it."""


class Run:
  """A run, finished or not, opened for use."""

  def __init__(self, path: Path, config: Config, vocabulary: Vocabulary):
    self.path, self.config, self.vocabulary = Path(path), config, vocabulary

  @classmethod
  def open(cls, path: Path | str) -> "Run":
    """Opens a run's directory.

    Raises:
      FileNotFoundError: it is not a run.
      ValueError: its config or vocabulary is damaged.
    """
    path = Path(path)
    config = read_config(path)
    model = read_inside(path, config.task.vocabulary_file)
    try:
      return cls(path, config, config.task.vocabulary(model, config.tokenizer))
    except ValueError as error:
      raise ValueError(f"{path}: {error}") from None

  @property
  def tokenizer(self) -> Tokenizer:
    """The vocabulary of a run whose task has a tokenizer.

    Raises:
      ValueError: it has none.
    """
    if not isinstance(self.vocabulary, Tokenizer):
      task = self.config.task
      raise ValueError(
        f"{self.path}: its task is {type(task).__name__}, which has no tokenizer; use: "
        f"transformer {task.verb} {self.path}"
      )
    return self.vocabulary

  def with_languages(self, source: str | None, target: str | None) -> "Run":
    """The run with another source or target language; None leaves one as it is.

    Raises:
      ValueError: its tokenizer has no such language, or none to choose from.
    """
    if source is None and target is None:
      return self
    recipe = self.config.tokenizer.with_languages(self.tokenizer, source, target)
    config = dataclasses.replace(self.config, tokenizer=recipe)
    return Run(self.path, config, self.tokenizer.with_recipe(recipe))

  @property
  def cache(self) -> Path:
    """Where tokenised text is kept."""
    return self.path / "cache"

  def checkpoints(self) -> "Checkpoints":
    """The run's checkpoints, to save more; those that are there are read without."""
    # What uses a run needs nothing of what training imports: Orbax and optax.
    from transformer.training.checkpoint import Checkpoints

    return Checkpoints(self._checkpoints, self.config.keep)

  @property
  def _checkpoints(self) -> Path:
    return self.path / "checkpoints"

  def steps(self) -> list[int]:
    """The steps of which there is a checkpoint."""
    return steps_in(self._checkpoints)

  def note(self, step: int) -> dict[str, Any]:
    """What was saved with the checkpoint of a step.

    Raises:
      ValueError: it is damaged.
    """
    return read_note(self._checkpoints, step)

  def ranks(self) -> dict[int, float]:
    """How good each evaluated checkpoint is by the config's metric, higher is better;
    one whose note is damaged is left out."""
    ranks = {}
    for step in self.steps():
      with contextlib.suppress(ValueError):
        ranks[step] = self.note(step).get("rank")
    return {step: rank for step, rank in ranks.items() if rank is not None}

  def module(self) -> nn.Module:
    """The model."""
    return self.config.model.module(self.vocabulary.size, self.config.precision.dtype)

  def boxed_params(self) -> Any:
    """Shapes of the parameters, each in a box with the letters of its axes."""
    module, example = self.module(), self.config.model.example()
    return jax.eval_shape(lambda: module.init(jax.random.key(0), example))["params"]

  def abstract_params(self, devices: Devices = Devices()) -> Any:
    """Shapes of the parameters, on `devices`."""
    boxed = self.boxed_params()

    def leaf(shape, sharding):
      return jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=sharding)

    return jax.tree.map(leaf, nn.unbox(boxed), devices.shardings(boxed))

  def params(
    self,
    step: int | None = None,
    int8: bool = False,
    devices: Devices = Devices(),
  ) -> Any:
    """The parameters of `checkpoint`, of which they are the first."""
    return self.checkpoint(step, int8, devices)[0]

  def checkpoint(
    self,
    step: int | None = None,
    int8: bool = False,
    devices: Devices = Devices(),
  ) -> tuple[Any, int]:
    """The parameters of a checkpoint on `devices`, with `int8` their matrices in 8 bits
    (`layers.int8`), and its step: `step`, or that of the newest which is not damaged.

    Raises:
      FileNotFoundError: there is none.
      ValueError: a size does not divide over the devices.
    """
    if not self.steps():
      raise FileNotFoundError(f"{self.path}: no checkpoint yet; train it first")
    with self.vocabulary_checked_first():
      found = read_params(self._checkpoints, self.abstract_params(devices), step)
    self.check_vocabulary(found.note)
    if not int8:
      return found.params, found.step
    return quantise(found.params, self.boxed_params()), found.step

  @contextlib.contextmanager
  def vocabulary_checked_first(self) -> Iterator[None]:
    """A context in which a checkpoint that does not match because of the size of the
    vocabulary is reported as made with another vocabulary."""
    try:
      yield
    except CheckpointMismatch as error:
      self.check_vocabulary(error.note)
      raise

  def check_vocabulary(self, note: dict[str, Any]) -> None:
    """Raises ValueError if a checkpoint was trained with another vocabulary."""
    if note.get("tokenizer_sha256") != self.vocabulary.sha256:
      raise ValueError(
        f"{self.path}: {self.config.task.vocabulary_file} is not the one that the "
        "checkpoint was trained with; restore the run's own"
      )


def read_config(path: Path) -> Config:
  """The config of a run; nothing else of it is opened.

  Raises:
    FileNotFoundError: it is not a run.
    ValueError: its config is damaged.
  """
  check_inside(path, "checkpoints")
  text = read_inside(path, "config.json")
  try:
    return configs.loads(Config, text.decode("utf-8-sig"))
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from None


def recorded_digests(note: dict[str, Any]) -> dict[str, str]:
  """The fingerprints of the splits in a checkpoint's note; older notes have that of the
  training text alone."""
  found = note.get("data_sha256", {})
  return {"train": found} if isinstance(found, str) else found
