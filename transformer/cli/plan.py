"""`transformer plan`: what a training step costs; takes an experiment and no run."""

from pathlib import Path

from transformer.cli import flags
from transformer.cli.lines import as_json


def add_arguments(parser: flags.VerbParser) -> None:
  """The experiment and the devices."""
  parser.add_argument(
    "config", metavar="CONFIG", type=Path, help="config file, as in train.py --config"
  )
  parser.add_argument(
    "--mesh", metavar="MESH",
    help="device mesh, such as 'Mesh(fsdp=4, tensor=2)' (default: the config's)",
  )  # fmt: skip
  parser.add_argument(
    "--devices", type=int, default=8, metavar="N", help="number of devices (default 8)"
  )
  parser.add_argument(
    "--device", default="h200", metavar="TYPE",
    help="h200 (default), h100, b200, rtx4090, a100, v5p, or cpu for this machine",
  )  # fmt: skip
  flags.add_json(parser)
  parser.set_defaults(overrides=[])


def run(arguments) -> None:
  """Estimate memory, time and communication of a training step before anything runs.

  Settings as in train.py: --config.name=value; --config.help lists them.
  """
  from transformer import config as configs
  from transformer import experiment
  from transformer.analysis import plan
  from transformer.analysis.plan_text import render

  configs.check_at_least("--devices", arguments.devices, 1)
  listing = configs.help_asked(arguments.overrides)
  config = experiment.read_config(arguments.config)
  for name, text in arguments.overrides:
    config = configs.override(config, name, text)
  if listing:
    print(configs.format_settings(config))
    return
  mesh = None
  if arguments.mesh:
    if any(name.split(".")[0] == "mesh" for name, _ in arguments.overrides):
      raise ValueError("give --mesh or --config.mesh, not both")
    mesh = configs.override(config, "mesh", arguments.mesh).mesh
  record = plan.plan(config, arguments.devices, arguments.device, mesh)
  print(as_json(record) if arguments.json else render(record))
