"""The seeds of a row as one program: the training step, vmapped over whole runs.

Each run keeps its own parameters, order of data and dropout, and gives what it would
give alone, up to the rounding of batched products. Its directory is one as the trainer
leaves it, with checkpoints of its own: either can go on with what the other began.
"""

import contextlib
import itertools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from transformer.data.pipeline import all_rows
from transformer.experiment import Config
from transformer.runs.metrics import Metrics, Watch
from transformer.runs.processes import INTERRUPTED, Interrupt, Lock
from transformer.runs.report import write_report
from transformer.runs.run import prepare
from transformer.runs.trainer import Progress, Training, check_fit, inherited, say
from transformer.training.mesh import check_batches
from transformer.training.state import create_state

TIMED = 10
"""Steps of each kind that `Together.ratio` takes the time of."""


class Ratio(NamedTuple):
  """Seconds of a step of all seeds as one program, and of their steps one by one."""

  together: float
  alone: float


class Together:
  """Runs that differ in their seed alone, being trained on one mesh."""

  def __init__(self, trainings: Sequence[Training]):
    """Raises ValueError where their steps cannot be one program."""
    self.trainings = tuple(trainings)
    self.config = one = self.trainings[0].config
    if len(one.batching.shapes) > 1:
      raise ValueError(
        "--together: batches have more than one shape, so the seeds' steps are not one "
        "program; take a batching of one shape, such as Packed()"
      )
    if one.patience:
      raise ValueError(
        "--together: patience may stop one seed before another; set it 0"
      )
    # The step's key is an argument, and nothing else of it depends on the seed.
    self.step = jax.jit(jax.vmap(self.trainings[0].step), donate_argnums=0)
    self.keys = jnp.stack([training.seed_key for training in self.trainings])

  def create(self) -> list[Any]:
    """Fresh states, one for each seed."""
    return [create_state(each.init, each.abstract) for each in self.trainings]

  def batches(self, start: int) -> Iterator[tuple[int, Any]]:
    """`(step, batch)` from `start` on, each leaf with the seeds as its first axis."""
    streams = (each.training_data.batches(start, self.config.steps, all_rows)
               for each in self.trainings)  # fmt: skip
    for parts in zip(*streams, strict=True):
      yield parts[0][0], stack([batch for _, batch in parts], np)

  def ratio(self) -> Ratio:
    """What a step costs together and one by one, measured on the first batches."""
    first = self.trainings[0]
    batches = [batch for _, batch in itertools.islice(self.batches(0), TIMED + 1)]
    alone = [part(batch, 0) for batch in batches]
    seconds = []
    for step, state, key, all_batches in (
      (self.step, stack(self.create()), self.keys, batches),
      (first.step, self.create()[0], first.seed_key, alone),
    ):
      state, _ = jax.block_until_ready(step(state, all_batches[0], key))
      begun = time.perf_counter()
      for batch in all_batches[1:]:
        state, _ = step(state, batch, key)
      jax.block_until_ready(state)
      seconds.append((time.perf_counter() - begun) / max(len(all_batches) - 1, 1))
    return Ratio(seconds[0], seconds[1] * len(self.trainings))

  def go(self) -> int:
    """Trains all to their end; the exit status, as `trainer.train`."""
    config, trainings = self.config, self.trainings
    with Interrupt() as interrupt, contextlib.ExitStack() as stack_:
      kept = [stack_.enter_context(each.run.checkpoints()) for each in trainings]
      begin, states, progress = self.start(kept)
      if begin >= config.steps:
        return 0
      watches = []
      for each, state, own in zip(trainings, states, progress, strict=True):
        say(each.run, each.training_data.notes, state, begin)
        metrics = stack_.enter_context(
          contextlib.closing(Metrics(each.run.path, begin))
        )
        watch = Watch(
          each.config, metrics, begin, each.training_data.examples, own.window
        )
        watches.append(stack_.enter_context(contextlib.closing(watch)))
      state = stack(states)
      for number, batch in self.batches(begin):
        state, numbers = self.step(state, batch, self.keys)
        done = number + 1
        for i, watch in enumerate(watches):
          watch.step(done, part(numbers, i))
        last, stopping = done == config.steps, interrupt.at(done)
        scoring = done % config.eval_every == 0 or last
        if not (scoring or stopping or done % config.save_every == 0):
          continue
        for i, (each, own, watch) in enumerate(
          zip(trainings, progress, watches, strict=True)
        ):
          watch.flush()
          one, rank, samples = part(state, i), None, None
          if scoring:
            rank, samples = each.evaluate(one, done, own, interrupt, watch)
          own.window = watch.window
          each.save(kept[i], one, own, rank)
          if last:
            rows = Metrics.read(each.run.path)
            write_report(each.run.path, each.config, rows, samples, watch.seconds)
        if stopping and not last:
          return INTERRUPTED
    return 0

  def start(self, kept) -> tuple[int, list[Any], list[Progress]]:
    """The newest step that every seed has, their states and what was seen of them."""
    shared = set.intersection(*(set(checkpoints.steps) for checkpoints in kept))
    if not shared:
      states = [each.begin() for each in self.trainings]
      return 0, states, [Progress() for _ in kept]
    begin = max(shared)
    found = []
    for each, checkpoints in zip(self.trainings, kept, strict=True):
      state, note = checkpoints.restore(each.abstract, begin)
      each.run.check_vocabulary(note)
      found.append((state, Progress.of(note)))
    return begin, [state for state, _ in found], [progress for _, progress in found]


@contextlib.contextmanager
def opened(experiments: Sequence[Config], paths: Sequence[Path]) -> Iterator[Together]:
  """Runs made or opened to be trained together, each locked; errors as
  `trainer.train`."""
  one = experiments[0]
  mesh = one.mesh.build()
  check_batches(mesh.shape, one.batching.shapes, one.accumulate)
  check_fit(one)
  with contextlib.ExitStack() as stack_:
    for path in paths:
      stack_.enter_context(Lock(path))
    found = [prepare(c, path) for c, path in zip(experiments, paths, strict=True)]
    given = [inherited(run) for run in found]
    stack_.enter_context(jax.set_mesh(mesh))
    yield Together(
      [Training(run, mesh, each) for run, each in zip(found, given, strict=True)]
    )


def stack(trees: Sequence[Any], numpy=jnp) -> Any:
  """Trees as one, with a first axis over them."""
  return jax.tree.map(lambda *leaves: numpy.stack(leaves), *trees)


def part(tree: Any, i: int) -> Any:
  """The tree number `i` of a stack."""
  return jax.tree.map(lambda leaf: leaf[i], tree)
