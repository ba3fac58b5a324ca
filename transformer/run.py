"""A run: the one training loop, and the one door to what it leaves behind.

A run is a directory that is complete in itself and may be copied anywhere:

  config.json        the experiment
  tokenizer.model    SentencePiece
  checkpoints/       Orbax; parameters apart from the rest
  metrics.csv        step,name,value
  tensorboard/       the same numbers
  report.md          curves, scores, samples and commands, at the end
  cache/             tokenised text; may be deleted

Opening one executes nothing from it.
"""

import contextlib
import csv
import functools
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tqdm
from flax import linen as nn

from transformer import config as configs
from transformer.data.tokenizer import Tokenizer
from transformer.experiment import Config, conflicts
from transformer.layers.int8 import quantise
from transformer.report import write_report
from transformer.training.checkpoint import Checkpoints
from transformer.training.mesh import batch_sharding, put
from transformer.training.state import (
  TrainState,
  abstract_state,
  create_state,
  init_state,
)
from transformer.training.step import Numbers, train_step

INTERRUPTED = 143
"""Exit status after SIGTERM: the state was saved, and the same command goes on."""


class Run:
  """A finished or unfinished run, opened to be used."""

  def __init__(self, path: Path, config: Config, tokenizer: Tokenizer):
    self.path, self.config, self.tokenizer = Path(path), config, tokenizer

  @classmethod
  def open(cls, path: Path | str) -> "Run":
    """Opens a run's directory.

    Raises:
      FileNotFoundError: it is not a run.
      ValueError: its config or tokenizer is damaged.
    """
    path = Path(path)
    try:
      text = (path / "config.json").read_text(encoding="utf-8")
      model = (path / "tokenizer.model").read_bytes()
    except (FileNotFoundError, NotADirectoryError):
      raise FileNotFoundError(
        f"{path}: not a run (it has no config.json and tokenizer.model); train one "
        f"with: python train.py --workdir {path}"
      ) from None
    try:
      return cls(path, configs.loads(Config, text), Tokenizer(model))
    except ValueError as error:
      raise ValueError(f"{path}: {error}") from None

  @property
  def cache(self) -> Path:
    """Where tokenised text is kept."""
    return self.path / "cache"

  def checkpoints(self) -> Checkpoints:
    """The run's checkpoints."""
    return Checkpoints(self.path / "checkpoints", self.config.keep)

  def steps(self) -> list[int]:
    """The steps of which there is a checkpoint."""
    if not (self.path / "checkpoints").is_dir():
      return []
    with self.checkpoints() as checkpoints:
      return checkpoints.steps

  def module(self) -> nn.Module:
    """The model."""
    return self.config.model.module(self.tokenizer.size, self.config.precision.dtype)

  def boxed_params(self) -> Any:
    """Shapes of the parameters, each in a box with the letters of its axes."""
    from transformer.batch import Pairs, Tokens

    tokens = Tokens(*(np.ones((1, 2), np.int32),) * 3)
    init = functools.partial(
      self.module().init, jax.random.key(0), Pairs(tokens, tokens)
    )
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
      params = checkpoints.restore_params(self.abstract_params(), step)
    if not int8:
      return params
    return quantise(params, nn.get_partition_spec(self.boxed_params()))


def prepare(config: Config, workdir: Path) -> Run:
  """Makes or opens the run in `workdir` for training under `config`.

  The tokenizer is trained first, so that a corpus which cannot be used leaves nothing
  behind. Without a checkpoint there is nothing to lose, and the config may change.

  Raises:
    ValueError: the directory is something else, or was made with another config.
  """
  path = Path(workdir)
  stored = path / "config.json"
  if path.exists() and not stored.is_file() and (
    not path.is_dir() or any(path.iterdir())
  ):  # fmt: skip
    raise ValueError(
      f"{path}: not a run and not empty; choose another --workdir or empty it"
    )
  if stored.is_file():
    run = None
    # A run stopped between its two files has nothing in it yet.
    with contextlib.suppress(FileNotFoundError):
      run = Run.open(path)
    if run is not None and run.steps():
      wrong = conflicts(run.config, config)
      if wrong:
        raise ValueError(
          f"{path}: made with another config ({'; '.join(wrong)}); choose another "
          "--workdir, or give the run's own settings"
        )
      run.config = config
      write_whole(stored, configs.dumps(config).encode())
      return run
  print("tokenizer: training on the corpus", file=sys.stderr, flush=True)
  model = config.task.train_tokenizer(config.data, config.tokenizer)
  path.mkdir(parents=True, exist_ok=True)
  write_whole(path / "tokenizer.model", model)
  write_whole(stored, configs.dumps(config).encode())
  return Run(path, config, Tokenizer(model))


def write_whole(path: Path, data: bytes) -> None:
  """Writes a file so that it is there whole or not at all."""
  scratch = path.with_name(f".{path.name}.{os.getpid()}")
  scratch.write_bytes(data)
  os.replace(scratch, path)


class Metrics:
  """`metrics.csv` and TensorBoard, the same numbers in both."""

  def __init__(self, path: Path, step: int):
    """Goes on at `step`: rows of later steps, from before a stop, are taken out."""
    self._path = path / "metrics.csv"
    rows = [row for row in self.read(path) if row[0] <= step]
    text = "step,name,value\n" + "".join(f"{s},{n},{v!r}\n" for s, n, v in rows)
    write_whole(self._path, text.encode())
    self._file = self._path.open("a", encoding="utf-8")
    # Not at the top: it imports PyTorch where that is installed.
    import tensorboardX

    self._board = tensorboardX.SummaryWriter(
      str(path / "tensorboard"), purge_step=step + 1
    )

  def write(self, step: int, values: dict[str, float]) -> None:
    """Adds numbers of a step."""
    for name, value in values.items():
      self._file.write(f"{step},{name},{float(value)!r}\n")
      self._board.add_scalar(name, float(value), step)
    self._file.flush()

  def close(self) -> None:
    """Flushes and closes both."""
    self._file.close()
    self._board.close()

  @staticmethod
  def read(path: Path) -> list[tuple[int, str, float]]:
    """All rows of a run's `metrics.csv`; a last line cut short is passed over."""
    file = path / "metrics.csv"
    if not file.is_file():
      return []
    rows = []
    with file.open(encoding="utf-8", newline="") as lines:
      for row in csv.reader(lines):
        try:
          rows.append((int(row[0]), row[1], float(row[2])))
        except (ValueError, IndexError):
          continue
    return rows


class Interrupt:
  """Turns SIGTERM into a flag that the loop reads between steps."""

  def __init__(self):
    self.raised = False

  def __enter__(self):
    self._before = signal.signal(signal.SIGTERM, self._note)
    return self

  def __exit__(self, *_):
    signal.signal(signal.SIGTERM, self._before)

  def _note(self, *_):
    self.raised = True


def train(config: Config, workdir: Path) -> int:
  """Trains, or goes on training, until `config.steps`.

  Returns:
    The exit status: 0, or `INTERRUPTED`.

  Raises:
    ValueError, OSError: one line on what is wrong with the config, corpus or workdir.
  """
  mesh = config.mesh.build()
  run = prepare(config, workdir)
  task, module = config.task, run.module()
  features = task.features(
    config.data, run.tokenizer, config.batching, config.seed, run.cache
  )
  init_key, seed_key = jax.random.split(jax.random.key(config.seed))
  optimizer = config.optimizer.transform(
    lambda count: config.schedule(count + 1, config.model.width)
  )
  init = init_state(module, features.example, optimizer, init_key)
  abstract = abstract_state(init, mesh)
  with Interrupt() as interrupt, run.checkpoints() as checkpoints, jax.set_mesh(mesh):
    if checkpoints.steps:
      state = checkpoints.restore(abstract)
    else:
      state = create_state(init, abstract)
    first = int(state.step)
    if first >= config.steps:
      print(
        f"{run.path}: already at step {first} of {config.steps}; raise "
        "--config.steps to go on"
      )
      return 0
    say(run, features.notes, state, first)
    metrics = Metrics(run.path, first)
    step = jax.jit(
      functools.partial(train_step, functools.partial(task.loss, module), optimizer),
      donate_argnums=0,
    )
    samples = None
    watch = Watch(config, metrics, first)
    try:
      sharding = batch_sharding(mesh)
      for number, batch in features.batches(first, config.steps):
        state, numbers = step(state, put(batch, sharding), seed_key)
        done = number + 1
        watch.step(done, numbers)
        if done % config.eval_every == 0 or done == config.steps:
          watch.flush()
          with watch.paused():
            scores, samples = task.evaluate(
              module, state.params, config.data, run.tokenizer, "val", run.cache, True
            )
          metrics.write(done, {f"val/{k}": v for k, v in scores.items()
                               if not isinstance(v, str)})  # fmt: skip
          watch.say(done, scores)
        if done % config.save_every == 0 or done == config.steps or interrupt.raised:
          watch.flush()
          checkpoints.save(state)
        if interrupt.raised and done < config.steps:
          watch.close()
          print(
            f"{run.path}: stopped at step {done} of {config.steps}; the same command "
            "goes on", file=sys.stderr,
          )  # fmt: skip
          return INTERRUPTED
      watch.flush()
    finally:
      watch.close()
      metrics.close()
  write_report(run.path, config, Metrics.read(run.path), samples, watch.seconds)
  print(f"{run.path}: done; see {run.path / 'report.md'}", file=sys.stderr)
  return 0


def say(run: Run, notes: tuple[str, ...], state: TrainState, first: int) -> None:
  """Tells what is about to be trained."""
  from transformer import tree

  devices = jax.devices()
  start = f"resumed at step {first:,}" if first else "from the start"
  print(
    f"{run.path}: {tree.size(state.params):,} parameters on {len(devices)} "
    f"{devices[0].platform} device(s), {start}", file=sys.stderr,
  )  # fmt: skip
  for note in notes:
    print(f"  {note}", file=sys.stderr, flush=True)


class Watch:
  """The progress bar, and the numbers of the step before the newest: reading those
  does not wait for the device."""

  def __init__(self, config: Config, metrics: Metrics, first: int):
    self._every, self._metrics, self._config = config.log_every, metrics, config
    self._bar = tqdm.tqdm(
      total=config.steps, initial=first, desc="train", unit=" steps", mininterval=1.0
    )
    self._waiting: tuple[int, Numbers] | None = None
    self._total = self._count = 0.0
    self._since = self._begun = time.monotonic()
    self._idle = 0.0

  @property
  def seconds(self) -> float:
    """Time spent on training, evaluation not counted."""
    return time.monotonic() - self._begun - self._idle

  def step(self, done: int, numbers: Numbers) -> None:
    """Notes a step that was started, and reads the one before it."""
    self.flush()
    self._waiting = done, numbers

  def flush(self) -> None:
    """Reads the numbers still waiting."""
    if self._waiting is None:
      return
    (done, numbers), self._waiting = self._waiting, None
    self._total += float(numbers.loss.total)
    self._count += float(numbers.loss.count)
    self._bar.update(1)
    if done % self._every == 0 or done == self._config.steps:
      now = time.monotonic()
      values = {
        "train/loss": self._total / max(self._count, 1.0),
        "train/tokens_per_second": self._count / max(now - self._since, 1e-9),
        "train/gradient_norm": float(numbers.gradient_norm),
        "train/rate": float(self._config.schedule(done, self._config.model.width)),
      }
      self._metrics.write(done, values)
      self._bar.set_postfix_str(
        f"loss {values['train/loss']:.3f}, "
        f"{values['train/tokens_per_second']:,.0f} tokens/s"
      )
      self._total = self._count = 0.0
      self._since = now

  def paused(self):
    """A context in which time does not count as training."""
    return _Pause(self)

  def say(self, done: int, scores: dict) -> None:
    """Prints scores above the bar."""
    text = ", ".join(
      f"{name} {value:.4g}" for name, value in scores.items()
      if not isinstance(value, str)
    )  # fmt: skip
    tqdm.tqdm.write(f"step {done}: {text}", file=sys.stderr)

  def close(self) -> None:
    """Ends the bar."""
    self._bar.close()


class _Pause:
  def __init__(self, watch: Watch):
    self._watch = watch

  def __enter__(self):
    self._start = time.monotonic()

  def __exit__(self, *_):
    spent = time.monotonic() - self._start
    self._watch._idle += spent
    self._watch._since += spent
