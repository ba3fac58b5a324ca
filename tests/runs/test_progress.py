"""What a run records and shows as it trains: metrics, evaluations, the best
checkpoint and the moving average."""

import os
import re
import signal
import sys
import time

import pytest

from tests.tiny import TINY
from tests.tiny_run import Now, digest, losses, metrics_of, scores, train
from transformer import tree
from transformer.experiment import TASKS
from transformer.runs import trainer
from transformer.runs.metrics import Metrics
from transformer.runs.progress import Progress
from transformer.runs.run import Run
from transformer.tasks.base import Samples
from transformer.training.keep import Keep
from transformer.training.schedules import Schedule


def test_metrics_of_steps_that_are_repeated_are_removed(tmp_path):
  metrics = Metrics(tmp_path, 0)
  for step in (1, 2, 3):
    metrics.write(step, {"train/loss": 1.0 / step})
  metrics.close()
  with (tmp_path / "metrics.csv").open("a") as file:
    file.write("4,train/lo")
  Metrics(tmp_path, 2).close()
  assert Metrics.read(tmp_path) == [(1, "train/loss", 1.0), (2, "train/loss", 0.5)]


def test_training_ends_when_patience_does_and_the_best_stays(tmp_path, capsys):
  path = tmp_path / "run"
  settings = dict(
    steps=12, eval_every=1, save_every=12, patience=3, schedule=Schedule(rate=0.0),
    keep=Keep(latest=1, best=1),
  )  # fmt: skip
  # With no rate nothing gets better: the first evaluation stays the best.
  assert train(path, **settings) == 0
  run = Run.open(path)
  assert run.steps() == [1, 4]
  with run.checkpoints() as checkpoints:
    notes = [checkpoints.note(step) for step in run.steps()]
  assert [note["progress"]["stale"] for note in notes] == [0, 3]
  assert notes[1]["progress"]["best_step"] == 1
  assert notes[0]["rank"] == notes[1]["rank"] == notes[1]["progress"]["best"] < 0
  text = (
    "stopped at step 4 of 12: loss is no better since step 1; raise --config.patience "
    "from 3 to continue"
  )
  assert f"{path}: {text}; see {path / 'report.md'}\n" in capsys.readouterr().err
  assert train(path, **settings) == 0
  assert text in capsys.readouterr().out
  assert train(path, **settings | {"patience": 5}) == 0
  assert run.steps() == [1, 6]


def test_progress_in_a_file_is_a_line_every_few_steps(tmp_path, capsys):
  path = tmp_path / "run"
  changes = {"log_every": 2, "eval_every": 4, "freeze": ("embedding", "encoder")}
  assert train(path, **changes) == 0
  text = capsys.readouterr().err
  assert "\r" not in text and "attention:" not in text
  lines = text.splitlines()
  number = r"[\d.,e+-]+"
  rows = [line for line in lines if re.match(r"step \d+ of 6: ", line)]
  for row, step in zip(rows, (2, 4, 6), strict=True):
    left = "" if step == 6 else r", \d\d:\d\d left"
    row_of = f"step {step} of 6: loss {number}, rate {number}, {number} tokens/s{left}"
    assert re.fullmatch(row_of, row), row
  params = tree.paths(Run.open(path).abstract_params())
  frozen = sum(a.size for n, a in params.items() if not n.startswith("decoder/"))
  total = sum(a.size for a in params.values())
  counted = f"{total:,} parameters ({total - frozen:,} trained, {frozen:,} frozen) on "
  assert any(counted in line for line in lines), lines


def test_a_terminal_shows_a_bar(tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
  assert train(tmp_path / "run", steps=2, eval_every=2, log_every=1) == 0
  text = capsys.readouterr().err
  assert "\rtrain: " in text and "step 1 of 2" not in text


def test_the_best_by_a_score_that_rises(tmp_path):
  """Ranks follow the score's own direction: a higher chrF, a lower loss."""
  assert train(tmp_path / "run", eval_every=2, metric="chrf") == 0
  rows = {(step, name): v for step, name, v in Metrics.read(tmp_path / "run")}
  with Run.open(tmp_path / "run").checkpoints() as checkpoints:
    for step in (2, 4, 6):
      assert checkpoints.note(step)["rank"] == rows[step, "val/chrf"]


@pytest.mark.parametrize("task", TASKS)
def test_every_score_declares_its_direction(task):
  for metric in task.scores:
    lower = re.search("loss|perplexity|bits_per", metric.name) is not None
    assert task.metric(metric.name).rank(3.0) == (-3.0 if lower else 3.0)


@pytest.mark.slow
def test_a_stop_within_an_evaluation_saves_at_once(tmp_path, monkeypatch):
  """The evaluation is made up for after the stop, and the run is the same."""
  settings = dict(steps=5, eval_every=2, save_every=5)
  assert train(tmp_path / "whole", **settings) == 0
  calls = []
  real = type(TINY.task).evaluate

  def evaluate(*args):
    calls.append(1)
    if len(calls) == 1:
      os.kill(os.getpid(), signal.SIGTERM)
      time.sleep(60)
    return real(*args)

  monkeypatch.setattr(type(TINY.task), "evaluate", evaluate)
  begun = time.monotonic()
  assert train(tmp_path / "run", **settings) == trainer.INTERRUPTED
  assert time.monotonic() - begun < 50
  assert Run.open(tmp_path / "run").steps() == [2]
  assert train(tmp_path / "run", **settings) == 0
  assert digest(tmp_path / "run") == digest(tmp_path / "whole")
  whole, resumed = (scores(tmp_path / name) for name in ("whole", "run"))
  assert whole == resumed and {step for step, _, _ in whole} == {2, 4, 5}


def stop_evaluations(monkeypatch, *losses):
  """Has the evaluations of TINY's task give these losses, or SIGTERM where None."""
  left = iter(losses)

  def evaluate(*_):
    loss = next(left)
    if loss is None:
      signal.raise_signal(signal.SIGTERM)
    return {metric.name: loss for metric in TINY.task.scores}, Samples(())

  monkeypatch.setattr(type(TINY.task), "evaluate", evaluate)


def test_a_stop_within_the_last_evaluation_is_resumed(tmp_path, monkeypatch):
  stop_evaluations(monkeypatch, None, 3.0)
  settings = dict(steps=1, eval_every=1, save_every=1)
  assert train(tmp_path, **settings) == trainer.INTERRUPTED
  assert not (tmp_path / "report.md").exists() and not scores(tmp_path)
  assert train(tmp_path, **settings) == 0
  assert (tmp_path / "report.md").exists()
  assert metrics_of(tmp_path, "val/loss") == [(1, 3.0)]
  assert Run.open(tmp_path).ranks() == {1: -3.0}
  # Were the evaluation not recorded, this would ask for another.
  assert train(tmp_path, **settings) == 0


def test_a_made_up_evaluation_is_one_as_any_other(tmp_path, monkeypatch):
  """Its rank keeps the checkpoint, and training ends when patience does."""
  stop_evaluations(monkeypatch, None, 3.0, None, 4.0)
  settings = dict(steps=3, eval_every=1, patience=1, keep=Keep(latest=1, best=1))
  assert train(tmp_path, **settings) == trainer.INTERRUPTED
  assert train(tmp_path, **settings) == trainer.INTERRUPTED
  assert Run.open(tmp_path).ranks() == {1: -3.0}
  assert train(tmp_path, **settings) == 0
  assert Run.open(tmp_path).ranks() == {1: -3.0, 2: -4.0}


def test_a_score_that_is_no_number_is_the_worst():
  metric, progress = TINY.task.metric("loss"), Progress()
  for step, loss in ((1, float("nan")), (2, 3.0), (3, float("nan"))):
    progress.record(step, metric.rank(loss))
  assert progress.best == -3.0 and progress.best_step == 2 and progress.stale == 1


def test_a_row_of_metrics_spans_a_stop(tmp_path, monkeypatch):
  assert train(tmp_path / "whole", log_every=4, eval_every=20) == 0
  with monkeypatch.context() as patch:
    patch.setattr(trainer, "Interrupt", Now)
    assert train(tmp_path / "run", log_every=4, eval_every=20) == trainer.INTERRUPTED
  assert train(tmp_path / "run", log_every=4, eval_every=20) == 0
  assert losses(tmp_path / "run") == losses(tmp_path / "whole")
  assert [step for step, _ in losses(tmp_path / "run")] == [4, 6]
  # What training has taken is that of all its starts.
  spent = [
    metrics_of(tmp_path / name, "train/target_tokens") for name in ("run", "whole")
  ]
  assert spent[0] == spent[1] and spent[0][0][1] < spent[0][1][1]
  for name in ("train/seconds", "train/processor_seconds"):
    (_, middle), (_, end) = metrics_of(tmp_path / "run", name)
    assert 0 < middle < end


@pytest.mark.slow
def test_a_run_with_a_moving_average_is_used_with_it(tmp_path):
  assert train(tmp_path / "raw", steps=4, eval_every=4) == 0
  assert train(tmp_path / "run", steps=2, eval_every=4, ema=0.5) == 0
  assert train(tmp_path / "run", steps=4, eval_every=4, ema=0.5) == 0
  assert train(tmp_path / "whole", steps=4, eval_every=4, ema=0.5) == 0
  assert digest(tmp_path / "run") == digest(tmp_path / "whole")
  # The average does not change what is trained, only what is used. XLA may round these
  # two programs differently; tests/training/test_step.py compares bit for bit.
  for (_, with_average), (_, without) in zip(
    losses(tmp_path / "run"), losses(tmp_path / "raw"), strict=True
  ):
    assert with_average == pytest.approx(without, rel=1e-6)
  assert digest(tmp_path / "run") != digest(tmp_path / "raw")
  assert scores(tmp_path / "run") != scores(tmp_path / "raw")
