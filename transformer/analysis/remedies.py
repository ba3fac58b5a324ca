"""Settings with which a step that does not fit into memory would."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator

from transformer import config as configs
from transformer.analysis.devices import Device
from transformer.analysis.step_cost import check_divides, measure
from transformer.experiment import Config
from transformer.layers.remat import Full
from transformer.training.losses import ChunkedCrossEntropy
from transformer.training.mesh import Mesh


def remedy(config: Config, device: Device, count: int) -> dict | None:
  """The first settings that make a step fit, one added after another; None where none
  of those tried does. Each is compiled."""
  flags: list[str] = []
  for flag, change in changes(config):
    try:
      changed = change(config)
      check_divides(changed, device)
    except ValueError:
      continue
    config = changed
    # Of accumulate=2 and accumulate=4 the last is meant.
    same = flag.partition("=")[0]
    flags = [*(other for other in flags if other.partition("=")[0] != same), flag]
    record = measure(config, device, count)
    if record["fits"]:
      return {"settings": flags, "bytes": record["bytes"]["total"]}
  return None


def changes(config: Config) -> Iterator[tuple[str, Callable[[Config], Config]]]:
  """Settings that save memory, cheapest first: each a flag and the change it makes."""
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
    yield f"--config.mesh='{configs.written(fsdp)}'", lambda c: replace(c, mesh=fsdp)
  for parts in itertools.takewhile(lambda n: n <= rows, (2, 4, 8, 16, 32)):
    yield f"--config.accumulate={parts}", functools.partial(replace, accumulate=parts)
