"""`plan`, which takes an experiment and no run."""

import json
from pathlib import Path

from transformer.cli import flags


def plan_flags(new: flags.Verb) -> None:
  """Which experiment, on which devices."""
  new.add_argument(
    "config", metavar="CONFIG", type=Path, help="as in train.py --config"
  )
  new.add_argument("--mesh", help="'Mesh(fsdp=4, tensor=2)'; default: the config's")
  new.add_argument("--devices", type=int, default=8, help="how many (default 8)")
  new.add_argument(
    "--device", default="h200", help="h200 (default), a100, v5p, or cpu, this machine"
  )
  new.set_defaults(overrides=[])


def plan(arguments) -> None:
  """Shows what a training step takes on some devices, without running it; settings as
  in train.py, --config.name=value."""
  from transformer import config as configs
  from transformer import experiment
  from transformer.analysis.plan import plan as make_plan
  from transformer.analysis.plan_text import render

  config = experiment.read(arguments.config)
  for name, text in arguments.overrides:
    config = configs.override(config, name, text)
  mesh = None
  if arguments.mesh:
    mesh = configs.override(config, "mesh", arguments.mesh).mesh
  record = make_plan(config, arguments.devices, arguments.device, mesh)
  print(json.dumps(record) if arguments.json else render(record))
