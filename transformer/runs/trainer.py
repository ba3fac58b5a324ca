"""The one training loop: steps, evaluations, checkpoints, and how it ends."""

import contextlib
import dataclasses
import functools
import sys
from pathlib import Path
from typing import Any

import jax

from transformer import config as configs
from transformer import tree
from transformer.experiment import Config
from transformer.inference.devices import Devices
from transformer.runs import warm_start
from transformer.runs.directory import claim
from transformer.runs.errors import explain
from transformer.runs.lengths import position_notes
from transformer.runs.metrics import Metrics
from transformer.runs.prepare import (
  check_model,
  inherit_model,
  parent_params,
  prepare,
)
from transformer.runs.processes import INTERRUPTED, Interrupt, barrier, is_primary
from transformer.runs.progress import Progress
from transformer.runs.report import write_report, write_samples
from transformer.runs.run import Run, recorded_digests
from transformer.runs.training_log import TrainingLog, shows_bars
from transformer.tasks.base import EvaluationInputs
from transformer.training.checkpoint import Checkpoints
from transformer.training.mesh import batch_sharding, check_batches, own_rows, put
from transformer.training.state import (
  TrainState,
  abstract_state,
  abstract_weights,
  create_state,
  init_state,
)
from transformer.training.step import step_program


def train(config: Config, workdir: Path, stop_at: int | None = None) -> int:
  """Trains until `config.steps`, from the newest checkpoint if there is one; with
  `stop_at`, until that step, as if SIGTERM had come there.

  Returns:
    The exit status: 0, or `INTERRUPTED`.

  Raises:
    ValueError, OSError: one line on what is wrong with the config, corpus, workdir,
      memory or numbers.
  """
  path = Path(workdir)
  config = inherit_model(config, path)
  mesh = config.mesh.build()
  check_batches(mesh.shape, config.batching, config.accumulate)
  check_model(config)
  with claim(path, "config.json", "run") as lock:
    compiled = state = None
    try:
      run = prepare(config, path)
      # Each process reads them by itself, so before there is a mesh.
      initial = parent_params(run)
      with jax.set_mesh(mesh):
        trainer = Trainer(run, mesh, initial)
        del initial  # large, and not needed after the first step
        compiled, state = trainer.compiled, trainer.abstract
        return trainer.train(stop_at)
    except jax.errors.JaxRuntimeError as error:
      ended = lock.ended_processes()
      raise explain(error, path, config, ended, compiled, state) from error


def split_digests(config: Config) -> dict[str, str]:
  """The fingerprint of each split, those of held-out text as far as there is any.

  Raises:
    OSError, ValueError: the training or validation data cannot be read.
  """
  digests = {split: config.data.fingerprint(split) for split in ("train", "val")}
  # It is needed only once the run is trained.
  with contextlib.suppress(OSError, ValueError):
    digests["test"] = config.data.fingerprint("test")
  return digests


class Trainer:
  """Trains one run on one mesh."""

  def __init__(self, run: Run, mesh: jax.sharding.Mesh, parent_params: Any = None):
    """Opens the training data; `parent_params` are those of the run `config.init`."""
    self.run, self.config, self.parent_params = run, run.config, parent_params
    config, self.task, self.module = run.config, run.config.task, run.module()
    self.data_sha256 = split_digests(config)
    # The others read what the first has tokenised.
    if is_primary():
      self.training_data = self._training_data()
    barrier("the corpus is tokenised")
    if not is_primary():
      self.training_data = self._training_data()
    init_key, self.seed_key = jax.random.split(jax.random.key(config.seed))
    example = self.training_data.example
    weights = abstract_weights(self.module, example)
    optimizer = config.gradient_transformation(weights)
    self.init = init_state(self.module, example, optimizer, init_key, config.ema)
    self.abstract = abstract_state(self.init, mesh)
    self.sharding = batch_sharding(mesh)
    self.devices = Devices(mesh if mesh.size > 1 else None)
    loss = functools.partial(self.task.loss, self.module)
    self.step = step_program(
      loss, optimizer, self.abstract, config.ema, config.accumulate
    )
    self.progress = Progress()
    self.origin: dict[str, str] | None = None

  def _training_data(self):
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

  def train(self, stop_at: int | None = None) -> int:
    """Trains to the end, or to step `stop_at`; the exit status."""
    run, config = self.run, self.config
    with Interrupt() as interrupt, run.checkpoints() as checkpoints:
      state = self.restore(checkpoints) if checkpoints.steps else self.initial_state()
      start = int(state.step)
      finished = self.progress.finished(config, start)
      if finished:
        if is_primary():
          print(f"{run.path}: {finished}")
        return 0
      self.print_start(state)
      with (
        contextlib.closing(Metrics(run.path, start)) as metrics,
        contextlib.closing(
          TrainingLog(
            config, metrics, start, self.training_data.examples, self.progress
          )
        ) as log,
      ):
        status, samples = self.loop(state, interrupt, checkpoints, log, stop_at)
    if status == 0 and is_primary():
      write_report(run.path, config, Metrics.read(run.path), samples, log.seconds)
      early = self.progress.evaluated < config.steps
      how = (
        early and self.progress.finished(config, self.progress.evaluated)
      ) or "done"
      print(f"{run.path}: {how}; see {run.path / 'report.md'}", file=sys.stderr)
    return status

  def initial_state(self) -> TrainState:
    """The state before the first step, with the parameters of `config.init`."""
    state, params = create_state(self.init, self.abstract), self.parent_params
    if params is None:
      return state
    parent, self.parent_params = self.config.init, None
    self.origin = {"run": parent, "parameters_sha256": tree.sha256(params)}
    if is_primary():
      own = tree.merge(state.params, state.batch_stats)
      match = warm_start.match_params(own, params)
      print(f"{self.run.path}: starts from {parent}: {match}", file=sys.stderr)
    return warm_start.warm_start(state, params)

  def restore(self, checkpoints: Checkpoints) -> TrainState:
    """The state of the newest checkpoint, with what was recorded of the run.

    Raises:
      ValueError: it was made with another vocabulary, training text or model.
    """
    with self.run.vocabulary_checked_first():
      state, note = checkpoints.restore(self.abstract)
    self.run.check_vocabulary(note)
    if recorded_digests(note)["train"] != self.data_sha256["train"]:
      raise ValueError(
        f"{self.run.path}: the training text of {self.config.data} has changed since "
        f"step {int(state.step)}; restore it, or choose another --workdir"
      )
    if isinstance(note["data_sha256"], str) and is_primary():
      print(
        f"{self.run.path}: made by an older version, whose batches may have had other "
        "rows (batching.row_multiple); from here on it may be another run",
        file=sys.stderr,
      )
    self.progress, self.origin = Progress.from_note(note), note.get("init")
    return state

  def print_start(self, state: TrainState) -> None:
    """Prints what is about to be trained."""
    if not is_primary():
      return
    devices, step = jax.devices(), int(state.step)
    start = f"resumed at step {step:,}" if step else "from the start"
    processes = jax.process_count()
    spread = f" in {processes} processes" if processes > 1 else ""
    counts = warm_start.count_parameters(state.params, self.config.freeze)
    print(
      f"{self.run.path}: {counts} on {len(devices)} {devices[0].platform} "
      f"device(s){spread}, {start}",
      file=sys.stderr,
    )
    warnings = self.config.schedule.warnings(self.config.steps)
    for note in (*self.training_data.notes, *position_notes(self.config), *warnings):
      print(f"  {note}", file=sys.stderr, flush=True)

  def loop(
    self, state, interrupt: Interrupt, checkpoints, log: TrainingLog, stop_at=None
  ):
    """Steps until the end, `stop_at`, SIGTERM or no progress; status and samples."""
    config, samples, step = self.config, None, int(state.step)
    # SIGTERM may have come within the evaluation of the step that was saved.
    if self.progress.lacks_evaluation(config, step):
      rank, samples = self.evaluate(state, step, interrupt, log)
      if rank is None:
        log.print_stop(self.run.path, step)
        return INTERRUPTED, None
      checkpoints.amend(step, self.note(), rank)
      if self.progress.out_of_patience(config):
        return 0, samples
    batches = self.training_data.batches(
      step, config.steps, functools.partial(own_rows, self.sharding)
    )
    for index, batch in batches:
      state, metrics = self.step(state, put(batch, self.sharding), self.seed_key)
      step = index + 1
      log.add_step(step, metrics)
      rank = None
      if self.progress.lacks_evaluation(config, step):
        log.flush()
        rank, samples = self.evaluate(state, step, interrupt, log)
      stopping = interrupt.should_stop(step) or step == stop_at
      done = self.progress.finished(config, step)
      is_best = rank is not None and config.keep.best
      if step % config.save_every == 0 or is_best or done or stopping:
        log.flush()
        self.progress.window, self.progress.spent = log.window, log.spent
        self.save(checkpoints, state, rank)
      if done:
        break
      if stopping:
        log.print_stop(self.run.path, step)
        return INTERRUPTED, None
    log.flush()
    return 0, samples

  def evaluate(self, state, step: int, interrupt: Interrupt, log: TrainingLog):
    """Scores the held-out split: the rank and samples, or None twice where SIGTERM
    came first; the resumed run then evaluates."""
    config, run = self.config, self.run
    try:
      with log.paused(), interrupt.raising():
        inputs = EvaluationInputs(
          self.module, state.eval_params, config.data, run.vocabulary, "val", run.cache,
          shows_bars(), self.devices,
        )  # fmt: skip
        scores, samples = self.task.evaluate(inputs)
    except InterruptedError:
      return None, None
    numbers = {k: v for k, v in scores.items() if not isinstance(v, str)}
    rank = self.task.metric(config.metric).rank(numbers[config.metric])
    self.progress.record(step, rank)
    log.add_scores(step, numbers)
    if is_primary():
      write_samples(run.path, step, samples)
    return rank, samples

  def save(self, checkpoints, state: TrainState, rank: float | None) -> None:
    """Saves the whole state.

    Raises:
      OSError: the run's directory is gone, or the save before this one failed.
    """
    path, step = self.run.path, int(state.step)
    if not (path / "config.json").is_file():
      raise OSError(
        f"{path}: the run's directory has vanished; step {step} cannot be saved"
      )
    checkpoints.save(state, self.note(), rank)

  def note(self) -> dict[str, Any]:
    """What is saved with the state."""
    note = {
      "config_sha256": configs.digest(self.config),
      "tokenizer_sha256": self.run.vocabulary.sha256,
      "data_sha256": self.data_sha256,
      "progress": dataclasses.asdict(self.progress),
    }
    return {**note, "init": self.origin} if self.origin else note
