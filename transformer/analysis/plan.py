"""`transformer plan`: what a training step takes, before anything runs.

The step of an experiment is compiled by XLA for a mesh of virtual CPU devices, in a
process of its own, and the compiled program is read: its memory, its collectives and
its products. Nothing is computed and no data is needed. `docs/devices.md` has the
conventions.
"""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from transformer import config as configs
from transformer.analysis.devices import DEVICES, Device, this_machine
from transformer.analysis.remedies import remedy
from transformer.analysis.step_cost import check_divides, measure
from transformer.experiment import Config, import_file, imported_files
from transformer.training.mesh import Mesh, divisors


def plan(config: Config, devices: int, device: str, mesh: Mesh | None = None) -> dict:
  """What a step of `config` takes on so many devices: a record for `json`.

  Without `mesh` it is the config's; where that does not divide, the nearest that does,
  and the record's notes say so.

  Raises:
    ValueError: the sizes do not divide; one line, with those that would.
  """
  if devices < 1:
    raise ValueError(f"--devices: {devices} is less than 1")
  if device not in (*DEVICES, "cpu"):
    raise ValueError(f"--device: {device}; there are {', '.join((*DEVICES, 'cpu'))}")
  request = {
    # The other process has to know the recipes of the user's own files.
    "imports": [str(path) for path in imported_files()],
    "config": configs.dump(
      config if mesh is None else dataclasses.replace(config, mesh=mesh)
    ),
    "fixed": mesh is not None,
    "devices": devices,
    "device": device,
  }
  environment = {
    **os.environ,
    "JAX_PLATFORMS": "cpu",
    "JAX_NUM_CPU_DEVICES": str(devices),
    # Another number of devices than the process' own, and no accelerator taken.
    "PYTHONPATH": os.pathsep.join(
      [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
    ),
  }
  process = subprocess.run(
    [sys.executable, "-m", "transformer.analysis.plan"], input=json.dumps(request),
    text=True, capture_output=True, env=environment,
  )  # fmt: skip
  lines = process.stdout.splitlines()
  if process.returncode or not lines:
    raise ValueError(
      f"plan: compiling failed (status {process.returncode}): "
      f"{(process.stderr.strip().splitlines() or ['no message'])[-1]}"
    )
  record = json.loads(lines[-1])
  if "error" in record:
    raise ValueError(record["error"])
  return record


def answer(request: dict) -> dict:
  """The record of a request of `plan`, in a process that has as many devices."""
  count = request["devices"]
  for path in request["imports"]:
    import_file(path)
  config = configs.load(Config, request["config"])
  device = DEVICES.get(request["device"]) or this_machine(count)
  notes = []
  try:
    check_divides(config, device)
  except ValueError as error:
    if request["fixed"]:
      raise
    mesh = next(dividing_meshes(config, device, count), None)
    if mesh is None:
      raise
    notes.append(f"{error}; planned with {configs.written(mesh)}")
    config = dataclasses.replace(config, mesh=mesh)
  record = measure(config, device, count)
  record["notes"] = notes + record["notes"]
  record["device"] = {"name": request["device"], **dataclasses.asdict(device)}
  record["remedy"] = None if record["fits"] else remedy(config, device, count)
  return record


def dividing_meshes(config: Config, device: Device, count: int) -> Iterator[Mesh]:
  """Meshes over which everything divides; those with the smallest `tensor` and
  `sequence` first."""
  for product in divisors(count):
    for sequence in divisors(product):
      mesh = Mesh(count // product, 1, product // sequence, sequence)
      with contextlib.suppress(ValueError):
        check_divides(dataclasses.replace(config, mesh=mesh), device)
        yield mesh


def main() -> None:
  """Answers the request on standard input with one line of JSON."""
  try:
    record = answer(json.load(sys.stdin))
  except ValueError as error:
    record = {"error": str(error)}
  print(json.dumps(record))


if __name__ == "__main__":
  main()
