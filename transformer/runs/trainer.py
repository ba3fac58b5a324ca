"""The one training loop: steps, evaluations, checkpoints, and how it ends."""

import dataclasses
import functools
import sys
from pathlib import Path
from typing import Any

import jax

from transformer import config as configs
from transformer import tree
from transformer.runs import warm_start as inherit
from transformer.runs.errors import explain
from transformer.experiment import Config
from transformer.runs.processes import INTERRUPTED, Interrupt, Lock, is_primary, barrier
from transformer.runs.report import write_report
from transformer.runs.run import Run, foreign, open_parent, prepare_together
from transformer.tasks.base import EvaluationInputs
from transformer.training.mesh import batch_sharding, check_batches, own_rows, put
from transformer.training.state import (
  TrainState,
  abstract_state,
  abstract_weights,
  create_state,
  init_state,
)
from transformer.training.step import step_program
from transformer.runs.metrics import Metrics, Watch


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
      # Read by each process for itself, so before there is a mesh.
      given = inherited(run)
      with jax.set_mesh(mesh):
        training = Training(run, mesh, given)
        del given  # large, and used up by the first step
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


def inherited(run: Run) -> Any:
  """The parameters that a run begins with, NumPy arrays; None if no other run gives
  them, or it has begun.

  Raises:
    FileNotFoundError, ValueError: there is no such run, or it is damaged.
  """
  if not run.config.init or run.steps():
    return None
  parent = open_parent(run.config)
  try:
    return jax.device_get(parent.params())
  except ValueError as error:
    raise ValueError(f"--config.init: {error}") from None


class Training:
  """One run being trained on one mesh; `given` are the parameters that it begins
  with, if they are not its own."""

  def __init__(self, run: Run, mesh: jax.sharding.Mesh, given: Any = None):
    self.run, self.config, self.mesh, self.given = run, run.config, mesh, given
    config, self.task, self.module = run.config, run.config.task, run.module()
    self.data_sha256 = config.data.fingerprint("train")
    # The others read what the first has tokenised.
    if is_primary():
      self.training_data = self._features()
    barrier("the corpus is tokenised")
    if not is_primary():
      self.training_data = self._features()
    init_key, self.seed_key = jax.random.split(jax.random.key(config.seed))
    self.origin: dict[str, str] | None = None
    weights = abstract_weights(self.module, self.training_data.example)
    optimizer = config.gradient_transformation(weights)
    self.init = init_state(
      self.module, self.training_data.example, optimizer, init_key, config.ema
    )
    self.abstract = abstract_state(self.init, mesh)
    self.sharding = batch_sharding(mesh)
    loss = functools.partial(self.task.loss, self.module)
    self.step = step_program(
      loss, optimizer, self.abstract, config.ema, config.accumulate
    )

  def _features(self):
    config, run = self.config, self.run
    return self.task.training_data(
      config.data, run.vocabulary, config.batching, config.seed, run.cache
    )

  def compiled(self):
    """The step as it is compiled for the mesh."""

    def leaf(array):
      return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=self.sharding)

    batch = jax.tree.map(leaf, self.training_data.example)
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
        state, progress = self.begin(), Progress()
      begin = int(state.step)
      if finished(run, begin, progress):
        return 0
      say(run, self.training_data.notes, state, begin)
      metrics = Metrics(run.path, begin)
      watch = Watch(config, metrics, begin, self.training_data.examples, progress.window)
      try:
        status, samples = self.loop(state, progress, interrupt, checkpoints, watch)
      finally:
        watch.close()
        metrics.close()
    if status == 0 and is_primary():
      write_report(run.path, config, Metrics.read(run.path), samples, watch.seconds)
      print(f"{run.path}: done; see {run.path / 'report.md'}", file=sys.stderr)
    return status

  def begin(self) -> TrainState:
    """The state before the first step, with what another run gives to it."""
    state, given = create_state(self.init, self.abstract), self.given
    if given is None:
      return state
    origin, self.given = self.config.init, None
    self.origin = {"run": origin, "parameters_sha256": tree.sha256(given)}
    if is_primary():
      found = inherit.fit(tree.merge(state.params, state.batch_stats), given)
      print(f"{self.run.path}: begins with {origin}: {found}", file=sys.stderr)
    return inherit.begin(state, given)

  def loop(self, state, progress: Progress, interrupt, checkpoints, watch: Watch):
    """Steps until the end, SIGTERM or no progress; the exit status and samples."""
    config, samples, done = self.config, None, int(state.step)
    due = done > 0 and done % config.eval_every == 0 and progress.evaluated < done
    if due:
      samples = self.evaluate(state, done, progress, interrupt, watch)[1]
    batches = self.training_data.batches(
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
        inputs = EvaluationInputs(
          self.module, state.eval_params, config.data, run.vocabulary, "val", run.cache,
          is_primary(),
        )  # fmt: skip
        scores, samples = self.task.evaluate(inputs)
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
  if is_primary():
    print(f"{run.path}: {text}")
  return True


def say(run: Run, notes: tuple[str, ...], state: TrainState, begin: int) -> None:
  """Tells what is about to be trained."""
  if not is_primary():
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
