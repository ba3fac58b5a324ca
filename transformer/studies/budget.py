"""How long the rows of a study are trained: updates, target tokens or seconds."""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from transformer import config as configs
from transformer.experiment import Config
from transformer.runs.directory import write_atomic
from transformer.runs.metrics import Metrics
from transformer.runs.trainer import train
from transformer.studies.fields import check_fields, check_value

MEASURED = 60
"""Updates of a measurement, of which the second half counts: in the first, programs are
compiled."""

# The run `init` may bring a tokenizer of its own.
BATCHES = ("data", "tokenizer", "init", "batching", "task")
PROGRAM = (*BATCHES, "model", "optimizer", "precision", "mesh", "accumulate", "ema")


@dataclasses.dataclass(frozen=True)
class Budget:
  """As many updates as the row's config says.

  `spends` names what is limited (`Spent`), and `depends_on` the settings by which the
  amount of an update differs.
  """

  spends: ClassVar[str] = ""
  depends_on: ClassVar[tuple[str, ...]] = ()

  def digest(self, config: Config) -> str:
    """What rows have in common whose updates take the same."""
    parts = {name: configs.dump(getattr(config, name)) for name in self.depends_on}
    if not config.init:  # as in digests of before it was named
      parts.pop("init", None)
    text = json.dumps([self.spends, parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()

  def part(self, config: Config, base: Config) -> Config:
    """`base` with what of `config` an update's amount depends on."""
    changes = {name: getattr(config, name) for name in self.depends_on}
    return dataclasses.replace(base, **changes)

  def updates(self, per_update: float) -> int:
    """The number of updates that the budget allows, of which each takes so much."""
    raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Amount(Budget):
  """So many updates as take a given amount, by a measurement before the row is trained.

  Schedules that follow the steps end with them. The first row of a kind is trained for
  a few updates, and the updates of the budget follow from what these took.

  Attributes:
    amount: how much each trial and each seed of a row may take.
  """

  amount: float

  def __post_init__(self):
    check_fields(self)
    configs.check_float("budget", self.amount)
    if not self.amount > 0:
      raise ValueError(f"budget: expected more than 0, got {self.amount:g}")

  def updates(self, per_update: float) -> int:
    return max(1, round(self.amount / per_update))


@dataclasses.dataclass(frozen=True)
class TargetTokens(Amount):
  """A number of target tokens: the same updates for all rows with the same batches."""

  spends: ClassVar[str] = "target_tokens"
  depends_on: ClassVar[tuple[str, ...]] = BATCHES


@dataclasses.dataclass(frozen=True)
class Seconds(Amount):
  """Seconds of training, without evaluation, at the speed of the machine when it was
  measured."""

  spends: ClassVar[str] = "seconds"
  depends_on: ClassVar[tuple[str, ...]] = PROGRAM


@dataclasses.dataclass(frozen=True)
class ProcessorSeconds(Seconds):
  """The same in seconds of the processors, of all threads: on a CPU that others use
  too, less depends on them."""

  spends: ClassVar[str] = "processor_seconds"


class Measurements:
  """What an update takes, kept in a study's directory, in `budget.json`."""

  def __init__(self, directory: Path):
    self._directory, self._file = directory, directory / "budget.json"

  def config(self, budget: Budget, config: Config) -> Config | None:
    """A row's experiment with the steps of its budget; None before it is measured."""
    if not budget.spends:
      return config
    per_update = self._read().get(budget.digest(config))
    if per_update is None:
      return None
    return dataclasses.replace(config, steps=budget.updates(per_update))

  def measure(self, budget: Budget, config: Config) -> int:
    """Measures what an update of a row takes; the exit status of training where SIGTERM
    came first, else 0.

    Raises:
      ValueError, OSError: it cannot be trained.
    """
    scratch = self._directory / "measured"
    shutil.rmtree(scratch, ignore_errors=True)
    half = MEASURED // 2
    short = dataclasses.replace(
      config,
      steps=max(config.steps, 2 * MEASURED),
      log_every=half,
      eval_every=2 * MEASURED,
      save_every=2 * MEASURED,
    )
    try:
      status = train(short, scratch, stop_at=2 * half)
      taken = {
        step: value
        for step, name, value in Metrics.read(scratch)
        if name == f"train/{budget.spends}"
      }
    finally:
      shutil.rmtree(scratch, ignore_errors=True)
    if 2 * half not in taken:
      return status
    per_update = (taken[2 * half] - taken[half]) / half
    if not per_update > 0:
      raise ValueError(
        f"budget: {half} updates took {half * per_update:g} {budget.spends}"
      )
    known = {**self._read(), budget.digest(config): per_update}
    write_atomic(self._file, json.dumps(known, indent=1).encode())
    return 0

  def _read(self) -> dict[str, float]:
    """What was measured, by digest.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is damaged.
    """
    try:
      found = configs.parse_json(self._file.read_bytes())
      check_value("amounts", found, Mapping[str, float])
      for digest, per_update in found.items():
        if not per_update > 0:
          raise ValueError(f"{digest}: expected more than 0, got {per_update}")
    except FileNotFoundError:
      return {}
    except ValueError as error:
      raise ValueError(
        f"{self._file}: damaged ({error}); restore it, or delete it to measure again, "
        "after which rows may have other numbers of updates and be trained again"
      ) from None
    return found
