"""What an error of the devices means, and how to fix it."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from transformer.experiment import Config
from transformer.training.mesh import bytes_per_device
from transformer.training.state import TrainState


def explain(
  error: Exception,
  path: Path,
  config: Config,
  ended: list[int],
  compiled: Callable[[], Any] | None,
  state: TrainState | None,
) -> Exception:
  """An error that says what is wrong and how to fix it; `error` itself if it is neither
  out of memory nor another process that died.

  Args:
    error: what JAX raised.
    path: of the run.
    config: of the run.
    ended: the numbers of the run's other processes that have ended.
    compiled: compiles the step, for its memory analysis.
    state: shapes and shardings of the state.
  """
  text = str(error)
  if "RESOURCE_EXHAUSTED" in text or "out of memory" in text.lower():
    return MemoryError(f"{path}: {_memory(config, compiled, state)}")
  if jax.process_count() > 1:
    gone = ", ".join(f"process {n}" for n in ended) + " is gone"
    if not ended:  # it may only have been slow to answer
      first = text.partition("\n")[0]
      gone = f"another process of the run cannot be reached ({first})"
    return ValueError(
      f"{path}: {gone}, so process {jax.process_index()} cannot continue; "
      f"start all {jax.process_count()} again: the same command resumes from the last "
      "checkpoint"
    )
  return error


def _memory(config: Config, compiled, state: TrainState | None) -> str:
  """The batch, the bytes by category and the settings that would fit."""
  tokens = config.batching.tokens
  lead = f"out of memory at a batch of --config.batching.tokens={tokens}"
  if state is None or compiled is None:
    return f"{lead}; lower it"
  params = bytes_per_device(state.params)
  sizes = {
    "parameters": params,
    "optimizer": bytes_per_device(state.opt_state),
    "moving average": bytes_per_device(state.ema),
    "gradients": params,
  }
  fixed = sum(sizes.values())
  try:
    temporary = compiled().memory_analysis().temp_size_in_bytes
  except (jax.errors.JaxRuntimeError, AttributeError):
    temporary = None
  if temporary is not None:
    sizes["activations"] = max(temporary - params, 0)
  limit = device_limit()
  listed = ", ".join(
    f"{name} {format_bytes(size)}" for name, size in sizes.items() if size
  )
  fixes = []
  if fixed < limit:
    smaller = tokens // 2
    if sizes.get("activations"):
      share = (limit - fixed) / sizes["activations"]
      smaller = tokens // 2 ** max(1, math.ceil(-math.log2(share)))
    if smaller:
      fixes.append(f"--config.batching.tokens={smaller}")
  devices = 2 ** max(1, math.ceil(math.log2(sum(sizes.values()) / limit)))
  fixes.append(f"{devices} devices with --config.mesh='Mesh(fsdp={devices})'")
  return (
    f"{lead}; a device of {format_bytes(limit)} would hold {listed}; what should fit: "
    f"{' or '.join(fixes)}; the last checkpoint is whole"
  )


def device_limit() -> int:
  """The memory of a device in bytes; of a CPU, the machine's."""
  stats = jax.local_devices()[0].memory_stats() or {}
  machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
  return int(stats.get("bytes_limit", machine))


def format_bytes(size: float) -> str:
  """Bytes for the reader, `1.2 GB`."""
  units = ["bytes", "kB", "MB", "GB", "TB"]
  while size >= 1000 and len(units) > 1:
    size, units = size / 1000, units[1:]
  return f"{size:.3g} {units[0]}"
