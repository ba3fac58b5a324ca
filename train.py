"""Trains an experiment: `python train.py --config configs/x.py --workdir runs/x`.

Every field of the config can be set: `--config.steps=2000 --config.model.layers=3`.
Without arguments, trains configs/dates.py into runs/dates.
"""

import sys
from pathlib import Path

from absl import app, flags, logging

from transformer import config as configs

flags.DEFINE_string("config", "configs/dates.py", "The experiment, a Python file.")
flags.DEFINE_string("workdir", None, "The run's directory; runs/<config> by default.")


def main(argv: list[str], overrides: list[tuple[str, str]]) -> int:
  """Reads the config, overrides it and trains."""
  from transformer import experiment, run
  from transformer.platform import compilation_cache

  if len(argv) > 1:
    raise ValueError(f"{argv[1]}: not a flag; settings are written --config.name=value")
  compilation_cache()
  path = Path(flags.FLAGS.config)
  config = experiment.read(path)
  for name, text in overrides:
    config = configs.override(config, name, text)
  return run.train(config, Path(flags.FLAGS.workdir or f"runs/{path.stem}"))


def entry() -> None:
  """Runs `main`; an error of the user's is one line and status 1."""
  logging.set_verbosity(logging.WARNING)
  try:
    overrides, argv = configs.flags(sys.argv)
    app.run(lambda rest: main(rest, overrides), argv)
  except (ValueError, OSError) as error:
    sys.exit(f"error: {error}")
  except KeyboardInterrupt:
    sys.exit("stopped; the same command goes on from the last checkpoint")


if __name__ == "__main__":
  entry()
