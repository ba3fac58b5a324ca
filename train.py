"""Trains an experiment: `python train.py --config configs/x.py --workdir runs/x`.

Every field of the config can be set: `--config.steps=2000 --config.model.layers=3`;
`--config.help` lists them all.
Without arguments, trains configs/dates.py into runs/dates; with the `--workdir` of a
run and no `--config`, resumes it with the settings that it has stored. `--import FILE`
first runs a Python file, whose recipes the settings may then name. Several processes
train one run with `--distributed` on a cluster, or with `--coordinator`, `--processes`
and `--process`.
"""

import re
import sys
import traceback
from pathlib import Path

from absl import app, flags, logging

from transformer import config as configs
from transformer.cli import streams
from transformer.runs import freed_memory

flags.DEFINE_string("config", "configs/dates.py", "Config file, a Python file.")
flags.DEFINE_string("workdir", None, "Directory of the run; default runs/<config>.")
flags.DEFINE_multi_string(
  "import", [], "Python file to run first, for the recipes it defines; can be repeated."
)
flags.DEFINE_bool(
  "distributed", False,
  "Join the other processes of the run, found by SLURM, Open MPI, Kubernetes or TPU.",
)  # fmt: skip
flags.DEFINE_string("coordinator", None, "host:port of process 0.")
flags.DEFINE_integer("processes", None, "Number of processes of the run.")
flags.DEFINE_integer("process", None, "Number of this process, from 0.")


HELP = ("--help", "-help", "-h")


def main(argv: list[str], overrides: list[tuple[str, str | None]]) -> int:
  """Reads the config, applies the overrides and trains, or lists all settings."""
  from transformer import experiment
  from transformer.runs import processes, trainer
  from transformer.runs.compilation_cache import enable_compilation_cache
  from transformer.runs.run import Run

  values = flags.FLAGS
  listing = configs.help_asked(overrides)
  check_not_empty(("config", "workdir", "import"))
  if len(argv) > 1:
    raise ValueError(f"{argv[1]}: not a flag; write settings as --config.name=value")
  explicit = (values.coordinator, values.processes, values.process)
  if any(value is not None for value in explicit):
    if None in explicit:
      raise ValueError("give all of --coordinator, --processes and --process, or none")
    if values.distributed:
      raise ValueError("give --distributed or --coordinator, not both")
    processes.join(*explicit)
  elif values.distributed:
    processes.join()
  enable_compilation_cache()
  for file in values["import"].value:
    experiment.import_file(file)
  path = Path(values.config)
  workdir = Path(values.workdir or f"runs/{path.stem}")
  # Without --config, a run continues with its stored settings.
  if values.workdir and not values["config"].present and has_config(workdir):
    path, config = workdir, Run.open(workdir).config
  else:
    config = experiment.read_config(path)
  for name, text in overrides:
    config = configs.override(config, name, text)
  if listing:
    streams.check_open()
    print(f"Settings of {path}, to be given as --config.NAME=VALUE:\n")
    print(configs.format_settings(config))
    return 0
  return trainer.train(config, workdir)


def parse_flags(argv: list[str]) -> list[str]:
  """What absl leaves of a command line; a wrong flag is one line, not its usage too."""
  try:
    return flags.FLAGS(argv)
  except flags.Error as error:
    text = str(error).removeprefix("flag ")
    text = re.sub(r"=.*: invalid literal .*: ", ": expected an integer, got ", text)
    raise ValueError(f"{text}; see python train.py --help") from None


def check_not_empty(names: tuple[str, ...]) -> None:
  """Raises ValueError if the value of a flag is an empty text, which a shell makes of a
  variable that is not set."""
  for name in names:
    if flags.FLAGS[name].value in ("", [""]):
      raise ValueError(f"--{name}: expected a path, got ''")


def has_config(workdir: Path) -> bool:
  """Whether a directory is a run that may be resumed from what it has stored."""
  return (workdir / "config.json").is_file()


def entry() -> None:
  """Runs `main`; an error of the user's is one line and status 1."""
  # Errors are raised; Orbax would also print them, with the traceback.
  logging.set_verbosity(logging.FATAL)
  status = 1
  freed_memory.keep_freed_memory()
  try:
    overrides, argv = configs.split_flags(sys.argv)
    if {*HELP} & {*argv}:
      # By itself absl would end here, with status 1 and without the settings.
      argv = [word for word in argv if word not in HELP]
      overrides.append(("help", None))
      streams.check_open()
      app.usage(shorthelp=True, writeto_stdout=True)
    app.run(lambda rest: main(rest, overrides), argv, flags_parser=parse_flags)
  except SystemExit as end:
    status = end.code if isinstance(end.code, int) else 0
  except BrokenPipeError:
    status = streams.die_of_broken_pipe()
  except (ValueError, OSError, MemoryError) as error:
    print(f"error: {streams.describe(error)}", file=sys.stderr)
  except KeyboardInterrupt:
    print(
      "interrupted; the same command resumes from the last checkpoint", file=sys.stderr
    )
    status = 130
  except Exception:
    traceback.print_exc()
  from transformer.runs import processes

  processes.exit(status)


if __name__ == "__main__":
  entry()
