"""The memory, collectives, FLOPs and time of a compiled training step."""

import functools
import time

import jax
import jax.numpy as jnp
from flax import linen as nn

from transformer import config as configs
from transformer import tree
from transformer.analysis import hlo
from transformer.analysis.counts import jaxpr_flops
from transformer.analysis.devices import Device
from transformer.experiment import Config
from transformer.training.mesh import (
  RULES,
  Mesh,
  batch_sharding,
  bytes_per_device,
  check_batches,
)
from transformer.training.state import abstract_state, abstract_weights, init_state
from transformer.training.step import step_program

# The program is read and never run: LLVM need not optimise the code of its kernels,
# which changes neither its memory nor its collectives, and takes half the time.
UNOPTIMISED = {
  "xla_backend_optimization_level": 0,
  "xla_llvm_disable_expensive_passes": True,
}


def dtype_on(config: Config, device: Device):
  """What the model computes in on a device."""
  return config.precision.on(device.platform)


def abstract_model(config: Config, device: Device):
  """The module, the largest shape, a batch of it without values, the update rule."""
  vocabulary = config.task.vocabulary_size(config.data, config.tokenizer)
  module = config.model.module(vocabulary, dtype_on(config, device))
  shape = max(config.batching.shapes, key=lambda shape: shape.source * shape.target)
  batch = jax.eval_shape(lambda: config.task.example(shape))
  weights = abstract_weights(module, batch)
  return module, shape, batch, config.gradient_transformation(weights)


def abstract_step(config: Config, device: Device, mesh: jax.sharding.Mesh):
  """The step of a config in the dtype of a device, without values: the function, the
  loss that it differentiates, and its arguments."""
  module, _, batch, optimizer = abstract_model(config, device)
  sharding = batch_sharding(mesh)

  def placed(leaf):
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

  batch = jax.tree.map(placed, batch)
  init = init_state(module, batch, optimizer, jax.random.key(0), config.ema)
  state = abstract_state(init, mesh)
  key = jax.eval_shape(lambda: jax.random.key(0))
  loss = functools.partial(config.task.loss, module)
  step = step_program(loss, optimizer, state, config.ema, config.accumulate)
  return step, loss, (state, batch, key)


def check_divides(config: Config, device: Device) -> None:
  """Raises ValueError where a size does not divide over the config's mesh."""
  mesh = config.mesh.build()
  check_batches(mesh.shape, config.batching, config.accumulate)
  module, _, batch, optimizer = abstract_model(config, device)
  key = jax.random.key(0)
  abstract_state(init_state(module, batch, optimizer, key, config.ema), mesh)


def measure(config: Config, device: Device, count: int) -> dict:
  """The record of a step: compiles it, and reads the compiled program."""
  started = time.monotonic()
  mesh = config.mesh.build()
  _, shape, *_ = abstract_model(config, device)
  step, loss, (state, batch, key) = abstract_step(config, device, mesh)
  with jax.set_mesh(mesh):
    traced = step.trace(state, batch, key)
    compiled = traced.lower().compile(compiler_options=UNOPTIMISED)
  with nn.logical_axis_rules(RULES), jax.set_mesh(mesh):
    forward = jax.make_jaxpr(loss)(state.eval_params, batch, key)
  memory = compiled.memory_analysis()
  sizes = {
    "parameters": bytes_per_device(state.params),
    "optimizer": bytes_per_device(state) - bytes_per_device(state.params),
    "gradients": bytes_per_device(state.params),
    "batch": bytes_per_device(batch),
  }
  sizes["activations"] = max(0, memory.temp_size_in_bytes - sizes["gradients"])
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
      + 2 * sizes["gradients"]
      + 2 * sizes["activations"] * config.accumulate
    )
    / device.bandwidth,
    "network": sum(
      one.sent / (device.link if one.spread <= device.node else device.network)
      for one in collectives
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
    "mesh": configs.written(Mesh(*mesh.devices.shape)),
    "precision": jnp.dtype(dtype_on(config, device)).name,
    "batch": {**shape._asdict(), "parts": config.accumulate, "tokens": tokens},
    "parameters": tree.size(state.params),
    "flops": {"step": flops, "token": flops / tokens, "executed": executed},
    "bytes": {**sizes, "total": total},
    "memory_share": total / device.memory,
    "fits": total <= device.memory,
    "collectives": summary(collectives),
    "seconds": seconds,
    "tokens_per_second": tokens / seconds["step"],
    "mfu": flops / (count * device.flops * seconds["step"]),
    "notes": notes,
    "compile_seconds": time.monotonic() - started,
  }


def summary(collectives) -> list[dict]:
  """Collectives of a step by kind and size of their groups."""
  rows: dict[tuple, dict] = {}
  for one in collectives:
    row = rows.setdefault(
      (one.kind, one.group),
      {"kind": one.kind, "devices": one.group, "times": 0, "bytes": 0, "sent": 0.0},
    )
    row["times"] += one.times
    row["bytes"] += one.payload
    row["sent"] += one.sent
  return [rows[key] for key in sorted(rows)]
