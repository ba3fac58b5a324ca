"""A run made or opened for training, and the run that it starts from."""

import contextlib
import dataclasses
import shutil
import sys
from pathlib import Path
from typing import Any

import jax

from transformer import config as configs
from transformer.experiment import Config, resume_conflicts
from transformer.models.parent import ParentModel
from transformer.runs import warm_start
from transformer.runs.directory import write_atomic
from transformer.runs.processes import barrier, is_primary
from transformer.runs.run import HUGGINGFACE, Run

SHOWN_CONFLICTS = 3
"""Settings that an error names, of those in which two configs differ."""


def prepare(config: Config, workdir: Path) -> Run:
  """Makes or opens the run in `workdir` for training under `config`; the first process
  does so, and the others open what it made.

  Raises:
    ValueError: the directory is something else, or was made with another config, or
      `config.init` and `config.freeze` do not fit the model, or this process was
      started with another config than the first.
    FileNotFoundError: there is no run `config.init`.
  """
  if is_primary():
    run = _prepare(config, workdir)
    barrier("the run is prepared")
    return run
  barrier("the run is prepared")
  run = Run.open(workdir)
  differences = configs.differences(run.config, config)
  if differences:
    path, *values = differences[0]
    theirs, ours = map(configs.abbreviate, map(configs.written, values))
    raise ValueError(
      f"{workdir}: process {jax.process_index()} was started with another config "
      f"({path}: {theirs} in process 0, {ours} here)"
    )
  return run


def _prepare(config: Config, workdir: Path) -> Run:
  """Makes or opens a run, in one process.

  The vocabulary is made first, or taken from the run `config.init`, so that a corpus or
  run which cannot be used leaves nothing behind. Without a checkpoint there is nothing
  to lose, and the config may change.
  """
  path = Path(workdir)
  run = None
  # A run stopped between its two files has nothing in it yet.
  with contextlib.suppress(FileNotFoundError):
    run = Run.open(path)
  if run is not None and run.steps():
    if config.init:
      config = inherit_tokenizer(config, run.config)
    different = resume_conflicts(run.config, config)
    if different:
      shown = different[:SHOWN_CONFLICTS]
      more = len(different) - len(shown)
      listed = "; ".join(shown + [f"and {more} more"] * (more > 0))
      raise ValueError(
        f"{path}: made with another config ({listed}); choose another --workdir, or "
        "give the run's own settings"
      )
    run.config = config
    write_atomic(path / "config.json", configs.dumps(config).encode())
    return run
  if len(config.data.open("train")) and not len(config.data.open("val")):
    raise ValueError(
      f"--config.data: the val split of {configs.written(config.data)} has no "
      "examples, so the run could not be evaluated"
    )
  task, parent = config.task, open_parent(config) if config.init else None
  if parent is not None:
    inherited = inherit_tokenizer(config, parent.config)
    if inherited.tokenizer != config.tokenizer:
      print(
        f"{path}: the tokenizer is that of {parent.path}, "
        f"{configs.written(inherited.tokenizer)}, in place of "
        f"{configs.written(config.tokenizer)}",
        file=sys.stderr,
        flush=True,
      )
    config = inherited
  if parent is not None and task.inherits_vocabulary:
    model = parent.vocabulary.model
  else:
    model = task.make_vocabulary(config.data, config.tokenizer)
    print(
      f"{task.vocabulary_file}: made from the training data",
      file=sys.stderr,
      flush=True,
    )
  run = Run(path, config, task.vocabulary(model, config.tokenizer))
  if parent is not None:
    warm_start.check_any_match(
      run.abstract_params(), parent.abstract_params(), type(config.model).__name__,
      str(parent.path),
    )  # fmt: skip
  if config.freeze:
    warm_start.check_frozen(run.abstract_params(), config.freeze)
  path.mkdir(parents=True, exist_ok=True)
  # The first of its files, by which a directory is known as a run's, should this stop.
  write_atomic(path / "config.json", configs.dumps(config).encode())
  write_atomic(path / task.vocabulary_file, run.vocabulary.model)
  # A directory that names other classes is not that of this run.
  if parent is not None and parent.vocabulary.model == model:
    folder = parent.path / HUGGINGFACE
    if folder.is_dir():
      shutil.copytree(folder, path / HUGGINGFACE, dirs_exist_ok=True)
  return run


def check_model(config: Config) -> None:
  """Raises ValueError where model, tokenizer and task do not fit each other."""
  example = config.task.example(config.batching.shapes[0])
  takes, makes = type(config.model.example()), type(example)
  if takes is not makes:
    raise ValueError(
      f"--config.model: {type(config.model).__name__} takes {takes.__name__}, but the "
      f"task {type(config.task).__name__} makes {makes.__name__}; choose a model and a "
      "task that match"
    )
  config.task.check(config.model)
  config.tokenizer.check()
  if config.tokenizer.divides_at_random and not config.task.trains_on_copies:
    raise ValueError(
      "--config.tokenizer.bpe_dropout: only translations are trained on text divided "
      f"at random, and the task is {type(config.task).__name__}; leave it at 0"
    )
  # The model itself refuses sizes that it cannot take.
  init = config.model.module(config.tokenizer.vocabulary, config.precision.dtype).init
  jax.eval_shape(init, jax.random.key(0), example)


def inherit_tokenizer(config: Config, parent: Config) -> Config:
  """The config with the tokenizer of the run that it starts from."""
  tokenizer = config.tokenizer.inherit(parent.tokenizer)
  return dataclasses.replace(config, tokenizer=tokenizer)


def inherit_model(config: Config, workdir: Path) -> Config:
  """The config with a model in place of `ParentModel`: that of the run in `workdir`
  where its training continues, else that of the run `config.init`.

  Raises:
    ValueError, FileNotFoundError: there is none.
  """
  if not isinstance(config.model, ParentModel):
    return config
  with contextlib.suppress(FileNotFoundError):
    run = Run.open(workdir)
    if run.steps():
      return dataclasses.replace(config, model=run.config.model)
  if not config.init:
    config.model.module(0)
  return dataclasses.replace(config, model=open_parent(config).config.model)


def open_parent(config: Config) -> Run:
  """The run `config.init`.

  Raises:
    FileNotFoundError: it is not a run, or has no checkpoint.
    ValueError: it is damaged, or its task has another kind of vocabulary.
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
      f"whose vocabulary {type(config.task).__name__} cannot use"
    )
  if not parent.steps():
    raise FileNotFoundError(
      f"--config.init: {config.init}: no checkpoint; train it first"
    )
  return parent


def parent_params(run: Run) -> Any:
  """The parameters of the run `config.init`, NumPy arrays; None if there is none, or if
  this run has a checkpoint already.

  Raises:
    FileNotFoundError, ValueError: it is not a run, or it is damaged.
  """
  if not run.config.init or run.steps():
    return None
  parent = open_parent(run.config)
  try:
    return jax.device_get(parent.params())
  except ValueError as error:
    raise ValueError(f"--config.init: {error}") from None
