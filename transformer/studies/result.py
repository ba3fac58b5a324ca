"""The scores of one trained seed of a row, kept in its run."""

import dataclasses
import hashlib
import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path

from transformer import config as configs
from transformer.experiment import Config
from transformer.inference.devices import Devices
from transformer.runs.directory import write_atomic
from transformer.runs.metrics import Metrics
from transformer.runs.progress import Spent
from transformer.runs.run import Run
from transformer.studies.fields import check_fields
from transformer.studies.rows import HeldOut
from transformer.tasks.base import EvaluationInputs

NAME = "study.json"


@dataclasses.dataclass(frozen=True)
class Result:
  """One run of a study, trained and scored.

  Attributes:
    fingerprint: digest of the experiment, its training text and the held-out texts.
    scores: by column, `set/score`.
    outputs, references: of the first set, if the task scores texts by BLEU; else empty.
    tokens_per_second: target tokens, in training: the median of the run's own figures
      without the first, which has compilation in it.
    target_tokens, seconds, processor_seconds: what its training took (`Spent`); None
      where an older version did not record it.
  """

  fingerprint: str
  scores: dict[str, float]
  outputs: list[str]
  references: list[str]
  tokens_per_second: float
  target_tokens: float | None = None
  seconds: float | None = None
  processor_seconds: float | None = None

  def __post_init__(self):
    check_fields(self)
    if len(self.outputs) != len(self.references):
      raise ValueError("Result: expected as many outputs as references")

  def write(self, path: Path) -> None:
    """Writes it into its run."""
    data = json.dumps(dataclasses.asdict(self), ensure_ascii=False).encode()
    write_atomic(path / NAME, data)

  @classmethod
  def read(
    cls, path: Path, config: Config, held_out: Sequence[HeldOut]
  ) -> "Result | None":
    """That of a run, if it is there and of just this experiment on just these texts."""
    try:
      found = cls(**json.loads((path / NAME).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
      return None
    return found if found.fingerprint == fingerprint(config, held_out) else None


def fingerprint(config: Config, held_out: Sequence[HeldOut]) -> str:
  """A digest of all that a result depends on."""
  parts = [configs.digest(config), config.data.fingerprint("train")]
  for one in held_out:
    data = one.data or config.data
    parts += [one.name, one.split, data.fingerprint(one.split)]
  return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def score(path: Path, config: Config, held_out: Sequence[HeldOut]) -> Result:
  """The result of a finished run, from its newest checkpoint.

  Args:
    path: the run.
    config: its experiment as the study has it; the run's own has what it inherits from
      `config.init`.
    held_out: what it is scored on.
  """
  run = Run.open(path)
  devices = Devices.local()
  params = run.params(devices=devices)
  scores: dict[str, float] = {}
  texts: list[tuple[str, str]] = []
  for one in held_out:
    inputs = EvaluationInputs(
      run.module(), params, one.data or config.data, run.vocabulary, one.split,
      run.cache, progress=False, devices=devices,
    )  # fmt: skip
    found, samples = run.config.task.evaluate(inputs)
    numbers = {k: float(v) for k, v in found.items() if not isinstance(v, str)}
    numbers.setdefault("perplexity", math.exp(min(numbers["loss"], 700.0)))
    scores |= {f"{one.name}/{name}": value for name, value in numbers.items()}
    if not texts and "bleu" in found:
      texts = [(output, wanted) for _, output, wanted in samples.rows]
  metrics = Metrics.read(path)
  speeds = [v for _, n, v in metrics if n == "train/tokens_per_second"]
  if not speeds:
    raise ValueError(
      f"{path}: metrics.csv has no train/tokens_per_second; delete the run to train it "
      "again"
    )
  last = {name: value for _, name, value in metrics}
  return Result(
    fingerprint(config, held_out),
    scores,
    [output for output, _ in texts],
    [wanted for _, wanted in texts],
    statistics.median(speeds[1:] or speeds),
    **{name: last.get(f"train/{name}") for name in Spent._fields},
  )
