"""A run: the one training loop, and the one door to what it leaves behind.

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
import dataclasses
import functools
import sys
from pathlib import Path
from typing import Any

import jax
from flax import linen as nn

from transformer import config as configs
from transformer import inherit, tree
from transformer.data.names import Vocabulary
from transformer.data.tokenizer import Tokenizer
from transformer.diagnose import explain
from transformer.experiment import Config, conflicts
from transformer.layers.int8 import quantise
from transformer.processes import INTERRUPTED, Interrupt, Lock, first, meet
from transformer.report import write_report
from transformer.training.checkpoint import Checkpoints, steps_in
from transformer.training.mesh import batch_sharding, check_batches, own_rows, put
from transformer.training.state import (
  TrainState,
  abstract_state,
  create_state,
  init_state,
)
from transformer.training.step import step_program
from transformer.watch import Metrics, Watch, write_whole


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
    model = read_own(path, config.task.keeps)
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
    return quantise(params, nn.get_partition_spec(self.boxed_params()))

  def check_vocabulary(self, note: dict[str, Any]) -> None:
    """Raises ValueError if a checkpoint was trained with another vocabulary."""
    if note.get("tokenizer_sha256") != self.vocabulary.sha256:
      raise ValueError(
        f"{self.path}: {self.config.task.keeps} is not the one that the checkpoint was "
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
    wrong = conflicts(run.config, config)
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
    print(f"{task.keeps}: made from the training data", file=sys.stderr, flush=True)
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
  write_whole(path / task.keeps, run.vocabulary.model)
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
  if parent.config.task.keeps != config.task.keeps:
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
  if first():
    run = prepare(config, workdir)
    meet("the run is prepared")
    return run
  meet("the run is prepared")
  run = Run.open(workdir)
  other = configs.differences(run.config, config)
  if other:
    path, was, now = other[0]
    raise ValueError(
      f"{workdir}: process {jax.process_index()} was started with another config "
      f"({path}: {was!r} in process 0, {now!r} here)"
    )
  return run


@dataclasses.dataclass
class Progress:
  """What the held-out scores say so far; a part of every checkpoint's note."""

  best: float | None = None
  best_step: int = 0
  stale: int = 0  # evaluations since the best
  evaluated: int = 0  # the last step that was
  window: tuple[float, float] = (0.0, 0.0)

  def see(self, step: int, rank: float) -> None:
    """Notes an evaluation; a higher rank is better."""
    self.evaluated = step
    if self.best is None or rank > self.best:
      self.best, self.best_step, self.stale = rank, step, 0
    else:
      self.stale += 1

  @classmethod
  def of(cls, note: dict[str, Any]) -> "Progress":
    """From a checkpoint's note."""
    found = cls(**note["progress"])
    found.window = tuple(found.window)  # type: ignore[assignment]
    return found


def train(config: Config, workdir: Path) -> int:
  """Trains, or goes on training, until `config.steps`.

  Returns:
    The exit status: 0, or `INTERRUPTED`.

  Raises:
    ValueError, OSError: one line on what is wrong with the config, corpus, workdir,
      memory or numbers.
  """
  path = Path(workdir)
  mesh = config.mesh.build()
  check_batches(mesh.shape, config.batching.shapes, config.accumulate)
  check_fit(config)
  if foreign(path):
    raise ValueError(
      f"{path}: not a run and not empty; choose another --workdir or empty it"
    )
  with Lock(path) as lock:
    compiled = state = None
    try:
      run = prepare_together(config, path)
      with jax.set_mesh(mesh):
        training = Training(run, mesh)
        compiled, state = training.compiled, training.abstract
        return training.go()
    except jax.errors.JaxRuntimeError as error:
      raise explain(error, path, config, lock.gone(), compiled, state) from error


def check_fit(config: Config) -> None:
  """Raises ValueError where the model does not read what the task gives."""
  example = config.task.example(config.batching.shapes[0])
  reads, gives = type(config.model.example()), type(example)
  if reads is not gives:
    raise ValueError(
      f"--config.model: {type(config.model).__name__} reads {reads.__name__}, and the "
      f"task {type(config.task).__name__} gives {gives.__name__}; choose a model and a "
      "task that go together"
    )
  config.task.check(config.model)
  # The model itself refuses sizes that it cannot read.
  init = config.model.module(config.tokenizer.vocabulary, config.precision.dtype).init
  jax.eval_shape(init, jax.random.key(0), example)


class Training:
  """One run being trained on one mesh."""

  def __init__(self, run: Run, mesh: jax.sharding.Mesh):
    self.run, self.config, self.mesh = run, run.config, mesh
    config, self.task, self.module = run.config, run.config.task, run.module()
    self.data_sha256 = config.data.fingerprint("train")
    # The others read what the first has tokenised.
    if first():
      self.features = self._features()
    meet("the corpus is tokenised")
    if not first():
      self.features = self._features()
    init_key, self.seed_key = jax.random.split(jax.random.key(config.seed))
    self.origin: dict[str, str] | None = None
    optimizer = config.rule()
    self.init = init_state(
      self.module, self.features.example, optimizer, init_key, config.ema
    )
    self.abstract = abstract_state(self.init, mesh)
    self.sharding = batch_sharding(mesh)
    loss = functools.partial(self.task.loss, self.module)
    self.step = step_program(
      loss, optimizer, self.abstract, config.ema, config.accumulate
    )

  def _features(self):
    config, run = self.config, self.run
    return self.task.features(
      config.data, run.vocabulary, config.batching, config.seed, run.cache
    )

  def compiled(self):
    """The step as it is compiled for the mesh."""

    def leaf(array):
      return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=self.sharding)

    batch = jax.tree.map(leaf, self.features.example)
    return self.step.lower(self.abstract, batch, self.seed_key).compile()

  def go(self) -> int:
    """Trains; returns the exit status."""
    run, config = self.run, self.config
    with Interrupt() as interrupt, run.checkpoints() as checkpoints:
      if checkpoints.steps:
        state, note = checkpoints.restore(self.abstract)
        run.check_vocabulary(note)
        if note["data_sha256"] != self.data_sha256:
          raise ValueError(
            f"{run.path}: the training text of {config.data} is not what it was at "
            f"step {int(state.step)}; put it back, or choose another --workdir"
          )
        progress, self.origin = Progress.of(note), note.get("init")
      else:
        state, progress = create_state(self.init, self.abstract), Progress()
        state = self.inherited(state)
      begin = int(state.step)
      if finished(run, begin, progress):
        return 0
      say(run, self.features.notes, state, begin)
      metrics = Metrics(run.path, begin)
      watch = Watch(config, metrics, begin, self.features.examples, progress.window)
      try:
        status, samples = self.loop(state, progress, interrupt, checkpoints, watch)
      finally:
        watch.close()
        metrics.close()
    if status == 0 and first():
      write_report(run.path, config, Metrics.read(run.path), samples, watch.seconds)
      print(f"{run.path}: done; see {run.path / 'report.md'}", file=sys.stderr)
    return status

  def inherited(self, state: TrainState) -> TrainState:
    """The state before the first step, with what another run gives to it."""
    if not self.config.init:
      return state
    parent = open_parent(self.config)
    try:
      given = parent.params()
    except ValueError as error:
      raise ValueError(f"--config.init: {error}") from None
    self.origin = {"run": self.config.init, "parameters_sha256": tree.sha256(given)}
    if first():
      found = inherit.fit(tree.merge(state.params, state.running), given)
      print(f"{self.run.path}: begins with {parent.path}: {found}", file=sys.stderr)
    return inherit.begin(state, given)

  def loop(self, state, progress: Progress, interrupt, checkpoints, watch: Watch):
    """Steps until the end, SIGTERM or no progress; the exit status and samples."""
    config, samples, done = self.config, None, int(state.step)
    due = done > 0 and done % config.eval_every == 0 and progress.evaluated < done
    if due:
      samples = self.evaluate(state, done, progress, interrupt, watch)[1]
    batches = self.features.batches(
      done, config.steps, functools.partial(own_rows, self.sharding)
    )
    for number, batch in batches:
      state, numbers = self.step(state, put(batch, self.sharding), self.seed_key)
      done = number + 1
      watch.step(done, numbers)
      rank, last = None, done == config.steps
      if done % config.eval_every == 0 or last:
        watch.flush()
        rank, samples = self.evaluate(state, done, progress, interrupt, watch)
      stopping = interrupt.at(done)
      over = last or out_of_patience(config, progress)
      best = rank is not None and config.keep.best
      if done % config.save_every == 0 or best or over or stopping:
        watch.flush()
        progress.window = watch.window
        self.save(checkpoints, state, progress, rank)
      if over:
        break
      if stopping:
        watch.tell(
          f"{self.run.path}: stopped at step {done} of {config.steps}; the same "
          "command goes on"
        )
        return INTERRUPTED, None
    watch.flush()
    return 0, samples

  def evaluate(self, state, done: int, progress: Progress, interrupt, watch: Watch):
    """Scores the held-out split: the rank and samples, or None twice where SIGTERM
    came first; it is then done after the stop."""
    config, run = self.config, self.run
    try:
      with watch.paused(), interrupt.raising():
        scores, samples = self.task.evaluate(
          self.module, state.used, config.data, run.vocabulary, "val", run.cache,
          first(),
        )  # fmt: skip
    except InterruptedError:
      return None, None
    numbers = {k: v for k, v in scores.items() if not isinstance(v, str)}
    rank = sign(config.metric) * numbers[config.metric]
    progress.see(done, rank)
    watch.scores(done, numbers)
    return rank, samples

  def save(self, checkpoints, state, progress: Progress, rank: float | None) -> None:
    """Saves the whole state.

    Raises:
      OSError: the run's directory is gone, or the save before this one failed.
    """
    run = self.run
    if not (run.path / "config.json").is_file():
      raise OSError(
        f"{run.path}: the run's directory has vanished; step {int(state.step)} cannot "
        "be saved"
      )
    note = {
      "config_sha256": configs.digest(run.config),
      "tokenizer_sha256": run.vocabulary.sha256,
      "data_sha256": self.data_sha256,
      "progress": dataclasses.asdict(progress),
    }
    if self.origin:
      note["init"] = self.origin
    checkpoints.save(state, note, rank)


LOWER = ("loss", "perplexity", "bits_per_character")
"""Held-out scores of which less is better; of all others, more."""


def sign(metric: str) -> int:
  """What makes more of a score better."""
  return -1 if metric in LOWER else 1


def out_of_patience(config: Config, progress: Progress) -> bool:
  """Whether too many evaluations have passed without a new best."""
  return bool(config.patience) and progress.stale >= config.patience


def finished(run: Run, begin: int, progress: Progress) -> bool:
  """Whether there is nothing left to train; then says so."""
  config = run.config
  if begin >= config.steps:
    text = f"already at step {begin} of {config.steps}; raise --config.steps to go on"
  elif out_of_patience(config, progress):
    text = (
      f"stopped at step {begin} of {config.steps}: {config.metric} is no better since "
      f"step {progress.best_step}; raise --config.patience from {config.patience} to "
      "go on"
    )
  else:
    return False
  if first():
    print(f"{run.path}: {text}")
  return True


def say(run: Run, notes: tuple[str, ...], state: TrainState, begin: int) -> None:
  """Tells what is about to be trained."""
  if not first():
    return
  devices = jax.devices()
  start = f"resumed at step {begin:,}" if begin else "from the start"
  together = f" in {jax.process_count()} processes" if jax.process_count() > 1 else ""
  print(
    f"{run.path}: {tree.size(state.params):,} parameters on {len(devices)} "
    f"{devices[0].platform} device(s){together}, {start}", file=sys.stderr,
  )  # fmt: skip
  for note in notes:
    print(f"  {note}", file=sys.stderr, flush=True)
