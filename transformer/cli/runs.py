"""`average` and `info`: runs as runs."""

import os
from pathlib import Path

from transformer.cli import flags
from transformer.cli.lines import show


def average_flags(new: flags.Verb) -> None:
  """Which checkpoints, and where to."""
  new.add_argument(
    "--last", type=int, default=5, help="how many checkpoints (default 5, §6.1)"
  )
  new.add_argument("--output", type=Path, help="the new run; default RUN-averaged")


def average(arguments) -> None:
  """Averages the parameters of the last checkpoints into a new run (§6.1)."""
  import shutil

  from transformer.run import Run
  from transformer.training.checkpoint import Checkpoints, average

  run = Run.open(arguments.run)
  steps = run.steps()
  if not 1 <= arguments.last <= len(steps):
    raise ValueError(
      f"{run.path}: --last {arguments.last}: there are {len(steps)} checkpoints "
      f"({steps}); --config.keep.latest says how many stay"
    )
  output = arguments.output or run.path.with_name(run.path.name + "-averaged")
  if output.exists():
    raise ValueError(f"{output}: already exists; give another --output")
  chosen = steps[-arguments.last :]
  params = average([run.params(step) for step in chosen])
  scratch = output.with_name(f".{output.name}.{os.getpid()}")
  try:
    scratch.mkdir(parents=True)
    for name in ("config.json", run.config.task.keeps):
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
  from transformer.run import Run

  run = Run.open(arguments.run)
  params = run.params(arguments.step)
  steps = run.steps()
  show(
    {
      "step": arguments.step or steps[-1],
      "checkpoints": steps,
      "parameters": tree.size(params),
      "parameters_sha256": tree.sha256(params),
      "vocabulary": run.vocabulary.size,
      "tokenizer_sha256": run.vocabulary.sha256,
      "config_sha256": configs.digest(run.config),
      "config": configs.dump(run.config),
    },
    arguments.json,
  )
