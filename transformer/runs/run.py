"""A run: the one door to what training leaves behind.

A run is a directory that is complete in itself and may be copied anywhere:

  config.json        the experiment
  tokenizer.model    SentencePiece; or names.json, the classes, where a task has these
  checkpoints/       Orbax; parameters apart from the rest, each with its checksums
  metrics.csv        step,name,value
  tensorboard/       the same numbers
  report.md          curves, scores, samples and commands, at the end
  cache/             tokenised text; may be deleted

Opening one executes nothing from it.
"""

import contextlib
import functools
import sys
from pathlib import Path
from typing import Any

import jax
from flax import linen as nn

from transformer import config as configs
from transformer.runs import warm_start as inherit
from transformer.data.vocabulary import Vocabulary
from transformer.data.tokenizer import Tokenizer
from transformer.experiment import Config, resume_conflicts
from transformer.layers.int8 import quantise
from transformer.runs.processes import Lock, is_primary, barrier
from transformer.training.checkpoint import Checkpoints, steps_in
from transformer.runs.metrics import write_whole


class Run:
  """A finished or unfinished run, opened to be used."""

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
    check_own(path, "checkpoints")
    text = read_own(path, "config.json")
    try:
      config = configs.loads(Config, text.decode("utf-8"))
    except ValueError as error:
      raise ValueError(f"{path}: {error}") from None
    model = read_own(path, config.task.vocabulary_file)
    try:
      return cls(path, config, config.task.vocabulary(model))
    except ValueError as error:
      raise ValueError(f"{path}: {error}") from None

  @property
  def tokenizer(self) -> Tokenizer:
    """The vocabulary of a run that reads text in pieces.

    Raises:
      ValueError: it is another run.
    """
    if not isinstance(self.vocabulary, Tokenizer):
      task = self.config.task
      raise ValueError(
        f"{self.path}: its task is {type(task).__name__}, which has no tokenizer; use: "
        f"transformer {task.verb} {self.path}"
      )
    return self.vocabulary

  @property
  def cache(self) -> Path:
    """Where tokenised text is kept."""
    return self.path / "cache"

  def checkpoints(self) -> Checkpoints:
    """The run's checkpoints."""
    return Checkpoints(self.path / "checkpoints", self.config.keep)

  def steps(self) -> list[int]:
    """The steps of which there is a checkpoint."""
    return steps_in(self.path / "checkpoints")

  def ranks(self) -> dict[int, float]:
    """How good each evaluated checkpoint is by the config's metric, higher is better;
    one whose note is damaged is left out."""
    found = {}
    if self.steps():
      with self.checkpoints() as checkpoints:
        for step in checkpoints.steps:
          with contextlib.suppress(ValueError):
            found[step] = checkpoints.note(step).get("rank")
    return {step: rank for step, rank in found.items() if rank is not None}

  def module(self) -> nn.Module:
    """The model."""
    return self.config.model.module(self.vocabulary.size, self.config.precision.dtype)

  def boxed_params(self) -> Any:
    """Shapes of the parameters, each in a box with the letters of its axes."""
    example = self.config.model.example()
    init = functools.partial(self.module().init, jax.random.key(0), example)
    return jax.eval_shape(init)["params"]

  def abstract_params(self) -> Any:
    """Shapes of the parameters, on this process' first device."""
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])

    def leaf(shape):
      return jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=sharding)

    return jax.tree.map(leaf, nn.unbox(self.boxed_params()))

  def params(self, step: int | None = None, int8: bool = False) -> Any:
    """The parameters of a checkpoint, the newest if `step` is None; with `int8`, their
    matrices in 8 bits (`layers.int8`).

    Raises:
      FileNotFoundError: there is none.
    """
    if not self.steps():
      raise FileNotFoundError(f"{self.path}: no checkpoint yet; train it first")
    with self.checkpoints() as checkpoints:
      params, note = checkpoints.restore_params(self.abstract_params(), step)
    self.check_vocabulary(note)
    if not int8:
      return params
    return quantise(params, self.boxed_params())

  def check_vocabulary(self, note: dict[str, Any]) -> None:
    """Raises ValueError if a checkpoint was trained with another vocabulary."""
    if note.get("tokenizer_sha256") != self.vocabulary.sha256:
      raise ValueError(
        f"{self.path}: {self.config.task.vocabulary_file} is not the one that the checkpoint was "
        "trained with; put the run's own back"
      )


def check_own(path: Path, name: str) -> None:
  """Raises ValueError if a part of a run lies outside of it."""
  if not (path / name).resolve().is_relative_to(path.resolve()):
    raise ValueError(
      f"{path}: {name} is a link out of the run; a run is complete in itself, so "
      "copy what it points to"
    )


def read_own(path: Path, name: str) -> bytes:
  """The bytes of a run's own file.

  Raises:
    FileNotFoundError: there is none.
    ValueError: it lies outside the run.
  """
  check_own(path, name)
  try:
    return (path / name).read_bytes()
  except (FileNotFoundError, NotADirectoryError):
    raise FileNotFoundError(
      f"{path}: not a run (it has no {name}); train one with: python train.py "
      f"--workdir {path}"
    ) from None


def foreign(path: Path) -> bool:
  """Whether `path` has something in it that is no run."""
  if not path.exists() or (path / "config.json").is_file():
    return False
  return not path.is_dir() or any(
    not entry.name.startswith(Lock.NAME) for entry in path.iterdir()
  )


def prepare(config: Config, workdir: Path) -> Run:
  """Makes or opens the run in `workdir` for training under `config`.

  The vocabulary is made first, or taken from the run to begin with, so that a corpus or
  run which cannot be used leaves nothing behind. Without a checkpoint there is nothing
  to lose, and the config may change.

  Raises:
    ValueError: the directory is something else, or was made with another config, or
      `config.init` and `config.freeze` do not fit the model.
    FileNotFoundError: there is no run to begin with.
  """
  path = Path(workdir)
  run = None
  # A run stopped between its two files has nothing in it yet.
  with contextlib.suppress(FileNotFoundError):
    run = Run.open(path)
  if run is not None and run.steps():
    wrong = resume_conflicts(run.config, config)
    if wrong:
      raise ValueError(
        f"{path}: made with another config ({'; '.join(wrong)}); choose another "
        "--workdir, or give the run's own settings"
      )
    run.config = config
    write_whole(path / "config.json", configs.dumps(config).encode())
    return run
  task, parent = config.task, open_parent(config) if config.init else None
  if parent is None:
    print(f"{task.vocabulary_file}: made from the training data", file=sys.stderr, flush=True)
    model = task.make_vocabulary(config.data, config.tokenizer)
    run = Run(path, config, task.vocabulary(model))
  else:
    run = Run(path, config, parent.vocabulary)
    kind = type(config.model).__name__
    own, given = run.abstract_params(), parent.abstract_params()
    inherit.check_fit(own, given, kind, str(parent.path))
  if config.freeze:
    inherit.check_frozen(run.abstract_params(), config.freeze)
  path.mkdir(parents=True, exist_ok=True)
  write_whole(path / task.vocabulary_file, run.vocabulary.model)
  write_whole(path / "config.json", configs.dumps(config).encode())
  return run


def open_parent(config: Config) -> Run:
  """The run that one under `config` begins with.

  Raises:
    FileNotFoundError: it is no run, or has no checkpoint.
    ValueError: it is damaged.
  """
  try:
    parent = Run.open(config.init)
  except FileNotFoundError:
    raise FileNotFoundError(
      f"--config.init: {config.init}: not a run (it has no config.json "
      "and vocabulary); give the directory of one that was trained"
    ) from None
  except ValueError as error:
    raise ValueError(f"--config.init: {error}") from None
  if parent.config.task.vocabulary_file != config.task.vocabulary_file:
    raise ValueError(
      f"--config.init: {config.init}: its task is {type(parent.config.task).__name__}, "
      f"whose vocabulary {type(config.task).__name__} does not read"
    )
  if not parent.steps():
    raise FileNotFoundError(
      f"--config.init: {config.init}: no checkpoint; train it first"
    )
  return parent


def prepare_together(config: Config, workdir: Path) -> Run:
  """`prepare` by the first process; the others open what it made.

  Raises:
    ValueError: as `prepare`, or this process was started with another config.
  """
  if is_primary():
    run = prepare(config, workdir)
    barrier("the run is prepared")
    return run
  barrier("the run is prepared")
  run = Run.open(workdir)
  other = configs.differences(run.config, config)
  if other:
    path, was, now = other[0]
    raise ValueError(
      f"{workdir}: process {jax.process_index()} was started with another config "
      f"({path}: {was!r} in process 0, {now!r} here)"
    )
  return run
