"""`transformer plan`: what a training step takes, before anything runs.

The step of an experiment is compiled by XLA for a mesh of virtual CPU devices, in a
process of its own, and the compiled program is read: its memory, its collectives and
its products. Nothing is computed and no data is needed. `docs/devices.md` has the
conventions.
"""

import contextlib
import dataclasses
import functools
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
from flax import linen as nn

from transformer import config as configs
from transformer import tree
from transformer.analysis import hlo
from transformer.analysis.counts import jaxpr_flops
from transformer.analysis.devices import DEVICES, Device, this_machine
from transformer.experiment import Config, import_file, imported_files
from transformer.layers.remat import Full
from transformer.runs.errors import format_bytes
from transformer.training.losses import ChunkedCrossEntropy
from transformer.training.mesh import (
  RULES,
  Mesh,
  batch_sharding,
  bytes_per_device,
  check_batches,
  divisors,
)
from transformer.training.state import abstract_state, abstract_weights, init_state
from transformer.training.step import step_program


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
  order = {
    # The other process has to know the recipes of the user's own files.
    "imports": [str(path) for path in imported_files()],
    "config": configs.dump(config if mesh is None else with_mesh(config, mesh)),
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
      [str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")]
    ),
  }
  done = subprocess.run(
    [sys.executable, "-m", "transformer.analysis.plan"], input=json.dumps(order), text=True,
    capture_output=True, env=environment,
  )  # fmt: skip
  lines = done.stdout.splitlines()
  if done.returncode or not lines:
    raise ValueError(
      f"plan: compiling failed (status {done.returncode}): "
      f"{(done.stderr.strip().splitlines() or ['no message'])[-1]}"
    )
  record = json.loads(lines[-1])
  if "error" in record:
    raise ValueError(record["error"])
  return record


def work(order: dict) -> dict:
  """The record of an order of `plan`, in a process that has as many devices."""
  count = order["devices"]
  for path in order["imports"]:
    import_file(path)
  config = configs.load(Config, order["config"])
  device = DEVICES.get(order["device"]) or this_machine(count)
  notes = []
  try:
    check(config, device)
  except ValueError as error:
    if order["fixed"]:
      raise
    mesh = next(dividing(config, device, count), None)
    if mesh is None:
      raise
    notes.append(f"{error}; planned with {written(mesh)}")
    config = with_mesh(config, mesh)
  record = measure(config, device, count)
  record["notes"] = notes + record["notes"]
  record["device"] = {"name": order["device"], **dataclasses.asdict(device)}
  record["remedy"] = None if record["fits"] else remedy(config, device, count)
  return record


def dtype_on(config: Config, device: Device):
  """What the model computes in there."""
  return config.precision.on(device.platform)


def abstract(config: Config, device: Device):
  """The module, shapes of its largest batch, and what makes its state."""
  vocabulary = config.task.vocabulary_size(config.data, config.tokenizer)
  module = config.model.module(vocabulary, dtype_on(config, device))
  shape = max(config.batching.shapes, key=lambda shape: shape.source * shape.target)
  batch = jax.eval_shape(lambda: config.task.example(shape))
  weights = abstract_weights(module, batch)
  return module, shape, batch, config.gradient_transformation(weights)


def check(config: Config, device: Device) -> None:
  """Raises ValueError where a size does not divide."""
  mesh = config.mesh.build()
  check_batches(mesh.shape, config.batching.shapes, config.accumulate)
  module, _, batch, optimizer = abstract(config, device)
  key = jax.random.key(0)
  abstract_state(init_state(module, batch, optimizer, key, config.ema), mesh)


def dividing(config: Config, device: Device, count: int) -> Iterator[Mesh]:
  """Meshes over which everything divides; least of `tensor` and `sequence` first."""
  for product in divisors(count):
    for sequence in divisors(product):
      mesh = Mesh(count // product, 1, product // sequence, sequence)
      with contextlib.suppress(ValueError):
        check(with_mesh(config, mesh), device)
        yield mesh


def measure(config: Config, device: Device, count: int) -> dict:
  """Compiles a step and reads what came out."""
  started = time.monotonic()
  mesh = config.mesh.build()
  module, shape, batch, optimizer = abstract(config, device)
  sharding = batch_sharding(mesh)

  def placed(leaf):
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

  batch = jax.tree.map(placed, batch)
  init = init_state(module, batch, optimizer, jax.random.key(0), config.ema)
  state = abstract_state(init, mesh)
  key = jax.eval_shape(lambda: jax.random.key(0))
  loss = functools.partial(config.task.loss, module)
  step = step_program(loss, optimizer, state, config.ema, config.accumulate)
  with jax.set_mesh(mesh):
    traced = step.trace(state, batch, key)
    compiled = traced.lower().compile()
  with nn.logical_axis_rules(RULES), jax.set_mesh(mesh):
    forward = jax.make_jaxpr(loss)(state.eval_params, batch, key)
  memory = compiled.memory_analysis()
  held = {
    "parameters": bytes_per_device(state.params),
    "optimizer": bytes_per_device(state) - bytes_per_device(state.params),
    "gradients": bytes_per_device(state.params),
    "batch": bytes_per_device(batch),
  }
  held["activations"] = max(0, memory.temp_size_in_bytes - held["gradients"])
  total = (
    memory.argument_size_in_bytes
    + memory.output_size_in_bytes
    - memory.alias_size_in_bytes
    + memory.temp_size_in_bytes
  )
  collectives, unknown = hlo.collectives(compiled.as_text(), count)
  flops = 3 * jaxpr_flops(forward.jaxpr)
  executed = jaxpr_flops(traced.jaxpr.jaxpr)
  seconds = {
    "compute": executed / (count * device.flops),
    "memory": (
      memory.argument_size_in_bytes
      + memory.output_size_in_bytes
      + 2 * held["gradients"]
      + 2 * held["activations"] * config.accumulate
    )
    / device.bandwidth,
    "network": sum(
      found.sent / (device.link if found.spread <= device.node else device.network)
      for found in collectives
    ),
  }
  seconds["step"] = max(seconds.values())
  tokens = shape.rows * shape.target
  notes = []
  if unknown:
    notes.append(f"{unknown} loops of unknown length were counted once")
  if dtype_on(config, device) == jnp.bfloat16:
    notes.append(
      "the CPU's compiler holds bfloat16 as float32: activations and collectives are "
      "upper bounds, up to twice what the device needs"
    )
  elif device.platform != "cpu":
    notes.append("peak FLOP/s are those of bfloat16; float32 products are slower")
  return {
    "devices": count,
    "mesh": written(Mesh(*mesh.devices.shape)),
    "precision": jnp.dtype(dtype_on(config, device)).name,
    "batch": {**shape._asdict(), "parts": config.accumulate, "tokens": tokens},
    "parameters": tree.size(state.params),
    "flops": {"step": flops, "token": flops / tokens, "executed": executed},
    "bytes": {**held, "total": total},
    "memory_share": total / device.memory,
    "fits": total <= device.memory,
    "collectives": summary(collectives),
    "seconds": seconds,
    "tokens_per_second": tokens / seconds["step"],
    "mfu": flops / (count * device.flops * seconds["step"]),
    "notes": notes,
    "compile_seconds": time.monotonic() - started,
  }


def remedy(config: Config, device: Device, count: int) -> dict | None:
  """The first settings that make a step fit, one added after another; None where none
  of those tried does. Each is compiled."""
  flags: list[str] = []
  for flag, change in changes(config, count):
    try:
      changed = change(config)
      check(changed, device)
    except ValueError:
      continue
    config = changed
    flags = [f for f in flags if f.partition("=")[0] != flag.partition("=")[0]] + [flag]
    found = measure(config, device, count)
    if found["fits"]:
      return {"settings": flags, "bytes": found["bytes"]["total"]}
  return None


def changes(config: Config, count: int):
  """Settings that save memory, cheapest first: each a flag, and what it does."""
  replace = dataclasses.replace
  rows = max(config.batching.shapes, key=lambda shape: shape.source).rows
  chunked = ChunkedCrossEntropy(max(1, config.batching.tokens // 8))
  if hasattr(config.task, "cross_entropy"):
    yield (
      f"--config.task.cross_entropy='{chunked}'",
      lambda c: replace(c, task=replace(c.task, cross_entropy=chunked)),
    )
  if hasattr(config.model, "remat"):
    yield (
      "--config.model.remat='Full()'",
      lambda c: replace(c, model=replace(c.model, remat=Full())),
    )
  sizes = config.mesh.build().shape
  fsdp = Mesh(1, sizes["data"] * sizes["fsdp"], sizes["tensor"], sizes["sequence"])
  if sizes["data"] > 1:
    yield f"--config.mesh='{written(fsdp)}'", lambda c: with_mesh(c, fsdp)
  for parts in itertools.takewhile(lambda n: n <= rows, (2, 4, 8, 16, 32)):
    yield (
      f"--config.accumulate={parts}",
      lambda c, parts=parts: replace(c, accumulate=parts),
    )


def with_mesh(config: Config, mesh: Mesh) -> Config:
  """The same experiment on another mesh."""
  return dataclasses.replace(config, mesh=mesh)


def written(mesh: Mesh) -> str:
  """A mesh as it is written on a command line, sizes of one left out."""
  sizes = dataclasses.asdict(mesh).items()
  named = [f"{name}={size}" for name, size in sizes if size != 1 or name == "data"]
  return f"Mesh({', '.join(named)})"


def summary(collectives) -> list[dict]:
  """Collectives of a step by kind and size of their groups."""
  found: dict[tuple, dict] = {}
  for one in collectives:
    row = found.setdefault(
      (one.kind, one.group),
      {"kind": one.kind, "devices": one.group, "times": 0, "bytes": 0, "sent": 0.0},
    )
    row["times"] += one.times
    row["bytes"] += one.payload
    row["sent"] += one.sent
  return [found[key] for key in sorted(found)]


def text(record: dict) -> str:
  """A record for a reader."""
  device, batch, flops = record["device"], record["batch"], record["flops"]
  held, seconds = record["bytes"], record["seconds"]
  lines = [
    f"mesh          {record['mesh']}, {record['devices']} x {device['name']}, "
    f"{record['precision']}",
    f"batch         {batch['rows']:,} rows of {batch['source']} and {batch['target']} "
    f"slots, {batch['tokens']:,} target tokens, in {batch['parts']} part(s)",
    f"parameters    {record['parameters']:,}",
    f"model FLOPs   {flops['token']:.4g} a target token, {flops['step']:.4g} a step "
    f"(executed: {flops['executed']:.4g})",
    "bytes a device",
  ]
  for name in ("parameters", "optimizer", "gradients", "activations", "batch"):
    lines.append(f"  {name:<13}{format_bytes(held[name]):>12}")
  verdict = "fits" if record["fits"] else "DOES NOT FIT"
  lines.append(
    f"  {'total':<13}{format_bytes(held['total']):>12}  {verdict} in "
    f"{format_bytes(device['memory']).strip()} ({record['memory_share']:.0%})"
  )
  lines.append("collectives a step, per device")
  for row in record["collectives"]:
    lines.append(
      f"  {row['kind']:<19}{row['times']:>6} x over {row['devices']:>3} devices, "
      f"{format_bytes(row['bytes'])}, {format_bytes(row['sent'])} sent"
    )
  if not record["collectives"]:
    lines.append("  none")
  lines += [
    f"time at best  {seconds['step'] * 1e3:,.1f} ms a step (compute "
    f"{seconds['compute'] * 1e3:,.1f}, memory {seconds['memory'] * 1e3:,.1f}, network "
    f"{seconds['network'] * 1e3:,.1f}, all at once)",
    f"              {record['tokens_per_second']:,.0f} target tokens/s, MFU at most "
    f"{record['mfu']:.0%}",
    f"peak figures  {device['source']}",
  ]
  if not record["fits"]:
    found = record["remedy"]
    lines.append(
      f"would fit     {' '.join(found['settings'])}: {format_bytes(found['bytes']).strip()}"
      if found
      else "would fit     nothing tried (chunked loss, remat, fsdp, accumulation)"
    )
  lines += [f"note          {note}" for note in record["notes"]]
  lines.append(f"compiled in {record['compile_seconds']:.0f} s; nothing was run")
  return "\n".join(lines)


def main() -> None:
  """Answers the order on standard input with one line of JSON."""
  try:
    record = work(json.load(sys.stdin))
  except ValueError as error:
    record = {"error": str(error)}
  print(json.dumps(record))


if __name__ == "__main__":
  main()
