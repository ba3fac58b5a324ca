"""Trains an experiment: `python train.py --config configs/x.py --workdir runs/x`.

Every field of the config can be set: `--config.steps=2000 --config.model.layers=3`.
Without arguments, trains configs/dates.py into runs/dates. Several processes train one
run with `--distributed` on a cluster, or with `--coordinator`, `--processes` and
`--process`.
"""

import sys
import traceback
from pathlib import Path

from absl import app, flags, logging

from transformer import config as configs

flags.DEFINE_string("config", "configs/dates.py", "The experiment, a Python file.")
flags.DEFINE_string("workdir", None, "The run's directory; runs/<config> by default.")
flags.DEFINE_bool(
  "distributed", False,
  "Join the run's other processes, found through SLURM, Open MPI, Kubernetes or TPU.",
)  # fmt: skip
flags.DEFINE_string("coordinator", None, "host:port of process 0, known to all.")
flags.DEFINE_integer("processes", None, "How many processes train the run.")
flags.DEFINE_integer("process", None, "Which of them this is, from 0.")


def main(argv: list[str], overrides: list[tuple[str, str]]) -> int:
  """Reads the config, overrides it and trains."""
  from transformer import experiment
  from transformer.runs import processes, trainer
  from transformer.runs.compilation_cache import enable_compilation_cache

  given = flags.FLAGS
  if len(argv) > 1:
    raise ValueError(f"{argv[1]}: not a flag; settings are written --config.name=value")
  explicit = (given.coordinator, given.processes, given.process)
  if any(value is not None for value in explicit):
    if None in explicit:
      raise ValueError("--coordinator, --processes and --process are given together")
    processes.join(*explicit)
  elif given.distributed:
    processes.join()
  enable_compilation_cache()
  path = Path(given.config)
  config = experiment.read(path)
  for name, text in overrides:
    config = configs.override(config, name, text)
  return trainer.train(config, Path(given.workdir or f"runs/{path.stem}"))


def entry() -> None:
  """Runs `main`; an error of the user's is one line and status 1."""
  # What goes wrong is raised; Orbax would also print it, with the traceback.
  logging.set_verbosity(logging.FATAL)
  status = 1
  try:
    overrides, argv = configs.flags(sys.argv)
    app.run(lambda rest: main(rest, overrides), argv)
  except SystemExit as end:
    status = end.code if isinstance(end.code, int) else 0
  except (ValueError, OSError, MemoryError) as error:
    print(f"error: {error}", file=sys.stderr)
  except KeyboardInterrupt:
    print("stopped; the same command resumes from the last checkpoint", file=sys.stderr)
    status = 130
  except Exception:
    traceback.print_exc()
  from transformer.runs import processes

  processes.exit(status)


if __name__ == "__main__":
  entry()
