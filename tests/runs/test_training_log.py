"""What is written while a run trains."""

import dataclasses
from types import SimpleNamespace

import pytest

from tests.tiny import TINY
from transformer.runs import training_log
from transformer.runs.progress import Progress
from transformer.runs.training_log import TrainingLog
from transformer.training.losses import Mean
from transformer.training.step import StepMetrics


def test_the_speed_after_a_stop_is_of_what_was_trained_since(monkeypatch):
  """The loss is of the whole row, with its part from before the stop."""
  clock, rows = SimpleNamespace(now=7.0), {}
  clock.monotonic = clock.process_time = lambda: clock.now
  monkeypatch.setattr(training_log, "time", clock)
  metrics = SimpleNamespace(write=rows.__setitem__)
  config, window = dataclasses.replace(TINY, log_every=4), (33.0, 100.0)
  log = TrainingLog(config, metrics, 3, None, Progress(window=window))
  log.add_step(4, StepMetrics(Mean(22.0, 10.0), 1.0, 0, 0))
  clock.now += 2.0
  log.flush()
  assert rows[4]["train/tokens_per_second"] == pytest.approx(5.0)
  assert rows[4]["train/loss"] == pytest.approx(0.5)
