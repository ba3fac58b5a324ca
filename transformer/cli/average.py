"""`transformer average`: the mean of several checkpoints as a run of its own."""

import os
from pathlib import Path

from transformer.cli import flags


def add_arguments(parser: flags.VerbParser) -> None:
  """The checkpoints, and where the new run goes."""
  flags.add_run(parser)
  which = parser.add_mutually_exclusive_group()
  which.add_argument(
    "--last", type=int, default=5, metavar="N",
    help="average the N newest checkpoints (default 5, §6.1)",
  )  # fmt: skip
  which.add_argument(
    "--best", type=int, metavar="N",
    help="average the N best checkpoints by the run's metric",
  )  # fmt: skip
  parser.add_argument(
    "--output", type=Path, metavar="DIRECTORY", help="new run (default: RUN-averaged)"
  )


def run(arguments) -> None:
  """Average the parameters of several checkpoints into a new run (§6.1)."""
  from transformer import tree
  from transformer.runs.derived import write_derived
  from transformer.runs.directory import whole
  from transformer.runs.run import Run

  run = Run.open(arguments.run_path)
  steps = sorted(checkpoints_to_average(arguments, run))
  # The name of `.` is that of the directory it stands for.
  path = Path(os.path.abspath(run.path))
  output = arguments.output or path.with_name(path.name + "-averaged")
  if os.path.lexists(output):
    raise ValueError(f"{output}: already exists; give another --output")
  with whole(output) as scratch:
    params = tree.average([run.params(step) for step in steps])
    write_derived(run, scratch, params, steps[-1], {"averaged": steps})
  print(f"{output}: the average of steps {', '.join(map(str, steps))}")


def checkpoints_to_average(arguments, run) -> list[int]:
  """The steps that `--last` or `--best` selects.

  Raises:
    ValueError: the run has fewer checkpoints than that.
  """
  steps, flag, kind, setting = run.steps(), "--last", "checkpoints", "latest"
  count = arguments.last
  if arguments.best is not None:
    flag, kind, setting = "--best", "evaluated checkpoints", "best"
    count, ranks = arguments.best, run.ranks()
    steps = sorted(ranks, key=lambda step: ranks[step])
  if not 1 <= count <= len(steps):
    raise ValueError(
      f"{flag}: expected 1 to {len(steps)}, got {count}; {run.path} has {len(steps)} "
      f"{kind}, {sorted(steps)} (--config.keep.{setting} sets how many training keeps)"
    )
  return steps[-count:]
