"""`average` and `info`: runs as runs."""

import contextlib
import os
from pathlib import Path

from transformer.cli import flags
from transformer.cli.lines import show


def average_flags(new: flags.Verb) -> None:
  """Which checkpoints, and where to."""
  which = new.add_mutually_exclusive_group()
  which.add_argument(
    "--last", type=int, default=5, help="that many of the newest (default 5, §6.1)"
  )
  which.add_argument(
    "--best", type=int, help="that many of the best by the run's metric instead"
  )
  new.add_argument("--output", type=Path, help="the new run; default RUN-averaged")


def average(arguments) -> None:
  """Averages the parameters of the last checkpoints, or of the best, into a new run
  (§6.1)."""
  import shutil

  from transformer import tree
  from transformer.runs.run import Run
  from transformer.training.checkpoint import Checkpoints

  run = Run.open(arguments.run)
  steps = run.steps()
  name, count = "last", arguments.last
  if arguments.best is not None:
    name, count = "best", arguments.best
    ranks = run.ranks()
    steps = sorted(ranks, key=lambda step: ranks[step])
  if not 1 <= count <= len(steps):
    what = "evaluated checkpoints" if name == "best" else "checkpoints"
    field = "latest" if name == "last" else name
    raise ValueError(
      f"{run.path}: --{name} {count}: there are {len(steps)} {what} ({sorted(steps)}); "
      f"--config.keep.{field} says how many stay"
    )
  output = arguments.output or run.path.with_name(run.path.name + "-averaged")
  if output.exists():
    raise ValueError(f"{output}: already exists; give another --output")
  chosen = sorted(steps[-count:])
  params = tree.average([run.params(step) for step in chosen])
  scratch = output.with_name(f".{output.name}.{os.getpid()}")
  try:
    scratch.mkdir(parents=True)
    for name in ("config.json", run.config.task.vocabulary_file):
      shutil.copy(run.path / name, scratch / name)
    with Checkpoints(scratch / "checkpoints") as checkpoints:
      note = {"tokenizer_sha256": run.vocabulary.sha256, "averaged": chosen}
      checkpoints.save_params(chosen[-1], params, note)
    os.replace(scratch, output)
  finally:
    shutil.rmtree(scratch, ignore_errors=True)
  print(f"{output}: the average of steps {', '.join(map(str, chosen))}")


def info(arguments) -> None:
  """Tells what a run is: config, step, number and digest of its parameters."""
  from transformer import config as configs
  from transformer import tree
  from transformer.runs.run import Run

  run = Run.open(arguments.run)
  params = run.params(arguments.step)
  steps, ranks = run.steps(), run.ranks()
  metric = run.config.metric
  step = arguments.step or steps[-1]
  origin = None
  # Of a damaged newest checkpoint the parameters are those of the one before.
  with run.checkpoints() as checkpoints, contextlib.suppress(ValueError):
    origin = checkpoints.note(step).get("init")
  show(
    {
      "step": step,
      "checkpoints": steps,
      f"val/{metric}": {
        one: run.config.task.metric(metric).rank(rank) for one, rank in ranks.items()
      },
      "parameters": tree.size(params),
      "parameters_sha256": tree.sha256(params),
      "init": origin,
      "vocabulary": run.vocabulary.size,
      "tokenizer_sha256": run.vocabulary.sha256,
      "config_sha256": configs.digest(run.config),
      "config": configs.dump(run.config),
    },
    arguments.json,
  )
