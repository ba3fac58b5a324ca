"""Training TINY, stopping it, and reading what the run recorded."""

import dataclasses

from tests.tiny import TINY
from transformer import tree
from transformer.runs import trainer
from transformer.runs.metrics import Metrics
from transformer.runs.run import Run


def train(path, **changes):
  """Trains TINY with these changes and returns the exit status."""
  return trainer.train(dataclasses.replace(TINY, **changes), path)


def metrics_of(path, wanted):
  """The steps and values of one metric."""
  return [(step, value) for step, name, value in Metrics.read(path) if name == wanted]


def losses(path):
  return metrics_of(path, "train/loss")


def scores(path):
  """The rows of the evaluations."""
  return [row for row in Metrics.read(path) if row[1].startswith("val/")]


def digest(path, step=None):
  """SHA-256 of the parameters, of the newest checkpoint if no step is given."""
  return tree.sha256(Run.open(path).params(step))


class Now(trainer.Interrupt):
  """SIGTERM before the first step."""

  def __init__(self):
    super().__init__()
    self.raised = True
