"""Studies that choose before they train: sweeps, budgets, and tests over seeds."""

import csv
import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.studies.test_ablate import BASE, STUDY, made_up
from transformer.config import dumps
from transformer.data.sources.parallel_text import ParallelText
from transformer.experiment import Config
from transformer.runs.metrics import Metrics
from transformer.runs.processes import INTERRUPTED
from transformer.runs.training_log import Diverged
from transformer.studies import ablate, budget
from transformer.studies.ablate import Ablation
from transformer.studies.budget import (
  Measurements,
  ProcessorSeconds,
  Seconds,
  TargetTokens,
)
from transformer.studies.result import fingerprint
from transformer.studies.rows import Row, grid
from transformer.studies.significance import welch
from transformer.studies.study import Study
from transformer.studies.sweep import SCORED_ON, Sweep, Trial
from transformer.training.schedules import Noam

SWEEP = Sweep({"schedule.rate": (1.0, 2.0), "schedule.warmup": (40, 80)})

SWEPT = dataclasses.replace(
  STUDY,
  base=dataclasses.replace(BASE, schedule=Noam()),
  rows=(Row("base"), Row("wide", {"model.d_ff": 40})),
  published=(),
  sweep=SWEEP,
)


class Trainer:
  """Stands for the trainer: a trial's loss is that of `losses` for its rate and
  warm-up; None diverges. `calls` are the runs it was given."""

  def __init__(self, losses, stop_at=None):
    self.losses, self.calls, self.stop_at = losses, [], stop_at

  def train(self, config: Config, path: Path) -> int:
    self.calls.append((path.parents[1].name, path.name, config))
    if len(self.calls) == self.stop_at:
      return INTERRUPTED
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(dumps(config))
    loss = self.losses.get((config.schedule.rate, config.schedule.warmup), 9.0)
    if loss is None:
      raise Diverged("10 steps in a row without a finite loss")
    rows = ((2, 0.5), (4, loss))  # the last counts
    text = "".join(f"{step},val/loss,{value}\n" for step, value in rows)
    (path / "metrics.csv").write_text(f"step,name,value\n{text}")
    return 0


def go(study, path, losses, **faults):
  """Does a study with made-up runs: its exit status, rows and the trainer's runs."""
  trainer = Trainer(losses, **faults)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(ablate, "train", trainer.train)
    patch.setattr(ablate, "score", made_up)
    ablation = Ablation(study, path)
    return ablation.run(), ablation.rows, trainer.calls


LOSSES = {(1.0, 40): 3.0, (1.0, 80): 2.0, (2.0, 40): None, (2.0, 80): 2.5}


def test_every_row_is_trained_at_its_best_trial(tmp_path):
  status, rows, calls = go(SWEPT, tmp_path / "study", LOSSES)
  assert status == 0 and len(calls) == 2 * (4 + 2)
  trials = [config for _, name, config in calls if "seed-" not in name]
  assert [(c.schedule.rate, c.schedule.warmup) for c in trials[:4]] == list(LOSSES)
  assert all(config.seed == SWEEP.seed for config in trials)
  for row in rows:
    assert (row.trained.schedule.rate, row.trained.schedule.warmup) == (1.0, 80)
  seeds = [config for _, name, config in calls if "seed-" in name]
  assert [config.seed for config in seeds] == [3, 5, 3, 5]
  assert {config.schedule for config in seeds} == {Noam(rate=1.0, warmup=80)}
  with (tmp_path / "study" / "trials.csv").open() as file:
    found = list(csv.DictReader(file))
  assert [row["chosen"] for row in found] == 2 * ["", "yes", "", ""]
  assert found[2]["val/loss"] == "" and "without a finite loss" in found[2]["failed"]
  text = (tmp_path / "study" / "table.md").read_text()
  assert "schedule.rate=1.0 (swept), schedule.warmup=80 (swept)" in text
  assert "| base | schedule.rate=1.0, schedule.warmup=80 | 2 | yes |  |" in text
  assert "best of 4 points" in text and f"seed {SWEEP.seed}" in text
  # Nothing is done twice, not even the trial that diverged.
  assert go(SWEPT, tmp_path / "study", LOSSES)[2] == []


def test_a_stopped_sweep_resumes_at_its_trial(tmp_path):
  status, rows, calls = go(SWEPT, tmp_path / "study", LOSSES, stop_at=3)
  assert status == INTERRUPTED and len(calls) == 3
  assert len(rows[0].trials) == 2 and rows[0].trained is None
  status, rows, calls = go(SWEPT, tmp_path / "study", LOSSES)
  assert status == 0 and len(calls) == 2 * (4 + 2) - 2
  assert all(row.chosen == 1 for row in rows)


def test_a_trial_is_of_the_texts_that_it_was_scored_on(tmp_path):
  files = {
    name: str(tmp_path / name)
    for name in ("source", "target", "val_source", "val_target")
  }
  for path in files.values():
    Path(path).write_text("one two\n" * 8)
  config = dataclasses.replace(BASE, data=ParallelText(**files))
  Trial(fingerprint(config, SCORED_ON), 1.5).write(tmp_path)
  assert Trial.read(tmp_path, config).score == 1.5
  Path(files["val_target"]).write_text("three\n" * 8)
  assert Trial.read(tmp_path, config) is None


def test_a_row_of_which_every_trial_fails_is_marked(tmp_path):
  bad = dict.fromkeys(LOSSES)
  status, rows, calls = go(SWEPT, tmp_path / "study", bad)
  assert status == 1 and len(calls) == 8
  assert all(row.failed.startswith("every trial failed; the first: 10") for row in rows)
  assert Ablation(SWEPT, tmp_path / "study").count() == 0  # its table is written


def test_a_score_that_is_better_when_higher_is_chosen_so(tmp_path):
  study = dataclasses.replace(
    SWEPT, base=dataclasses.replace(SWEPT.base, metric="bleu"), rows=SWEPT.rows[:1]
  )

  def train(config, path):
    status = Trainer({point: x or 0.0 for point, x in LOSSES.items()}).train(
      config, path
    )
    file = path / "metrics.csv"
    file.write_text(file.read_text().replace("val/loss", "val/bleu"))
    return status

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(ablate, "train", train)
    patch.setattr(ablate, "score", made_up)
    ablation = Ablation(study, tmp_path / "study")
    assert ablation.run() == 0
  assert ablation.rows[0].trained.schedule == Noam(rate=1.0, warmup=40)


def test_a_grid_has_every_combination():
  rows = grid({"steps": (5, 7), "model.layers": (1, 2, 3)})
  assert [row.changes["steps"] for row in rows] == [5, 5, 5, 7, 7, 7]
  assert rows[4].name == "steps=7, model.layers=2"
  assert len({row.directory for row in rows}) == 6
  assert rows[4].apply(BASE).model.layers == 2
  Study("A grid of rows", BASE, rows)


@pytest.mark.parametrize(
  "changes, message",
  [
    (dict(sweep=Sweep({"steps": (4,)}, seed=3)), "its seed, 3, is one of the study's"),
    (dict(sweep=Sweep({"steps": (4,)}, "blue")), "'blue' is not a held-out score"),
  ],
)
def test_a_sweep_that_cannot_be_is_refused(changes, message):
  with pytest.raises(ValueError, match=message):
    dataclasses.replace(STUDY, **changes)


@pytest.mark.parametrize("share", [0, -0.5, 1.5, float("nan")])
def test_the_share_of_a_trial_is_of_its_row(share):
  with pytest.raises(ValueError, match=r"sweep.share: expected 0 < share <= 1"):
    Sweep(share=share)


def test_trials_take_their_share_of_the_updates(monkeypatch, tmp_path):
  study = dataclasses.replace(
    SWEPT,
    base=dataclasses.replace(SWEPT.base, steps=10),
    sweep=dataclasses.replace(SWEEP, share=0.25),
  )
  status, _, calls = go(study, tmp_path / "study", LOSSES)
  assert status == 0
  trials = {config.steps for _, name, config in calls if "seed-" not in name}
  assert trials == {2}  # 2.5, rounded to even
  assert {config.steps for _, name, config in calls if "seed-" in name} == {10}
  assert "for 25% of the updates" in (tmp_path / "study" / "table.md").read_text()


def test_a_wrong_setting_of_a_sweep_is_found_before_training():
  study = dataclasses.replace(STUDY, sweep=Sweep({"schedule.wramup": (1, 2)}))
  with pytest.raises(ValueError, match=r"row 'base': .*did you mean"):
    study.configs()


class Meter:
  """Stands for the trainer where updates are measured: the first half is slow."""

  def __init__(self, spends, per_update, stopped=False):
    self.spends, self.per_update, self.stopped = spends, per_update, stopped
    self.configs: list[Config] = []

  def train(self, config, path, stop_at):
    self.configs.append(config)
    half = config.log_every
    assert stop_at == 2 * half and config.steps >= stop_at
    assert config.eval_every > stop_at
    path.mkdir(parents=True)
    first = 100.0 * self.per_update * half
    rows = [(half, first), (2 * half, first + self.per_update * half)]
    if self.stopped:
      rows = rows[:1]
    lines = [f"{step},train/{self.spends},{value}\n" for step, value in rows]
    (path / "metrics.csv").write_text("step,name,value\n" + "".join(lines))
    return INTERRUPTED


def test_budgets_become_updates(tmp_path, monkeypatch):
  meter = Meter("target_tokens", 50.0)
  monkeypatch.setattr(budget, "train", meter.train)
  measurements, tokens = Measurements(tmp_path), TargetTokens(1_000)
  assert measurements.config(tokens, BASE) is None
  assert measurements.measure(tokens, BASE) == 0
  assert measurements.config(tokens, BASE) == dataclasses.replace(BASE, steps=20)
  assert measurements.config(TargetTokens(110), BASE).steps == 2
  # Rows with the same batches need no other measurement, others do.
  wide = Row("wide", {"model.d_ff": 40, "schedule": Noam(warmup=9)}).apply(BASE)
  assert measurements.config(tokens, wide).steps == 20
  other = Row("x", {"batching.tokens": 384}).apply(BASE)
  assert measurements.config(tokens, other) is None
  # The tokenizer may be that of another run.
  warm = Row("x", {"init": "run"}).apply(BASE)
  assert measurements.config(tokens, warm) is None
  # Seconds depend on the model too.
  meter.spends = "seconds"
  assert measurements.measure(Seconds(5.0), BASE) == 0
  assert measurements.config(Seconds(100.0), BASE).steps == 2
  assert measurements.config(Seconds(100.0), wide) is None
  assert measurements.config(ProcessorSeconds(100.0), BASE) is None
  assert measurements.config(tokens, BASE).steps == 20
  assert [path.name for path in tmp_path.iterdir()] == ["budget.json"]
  with pytest.raises(ValueError, match="budget: expected more than 0, got 0"):
    Seconds(0)


def test_a_study_with_a_budget_resumes_its_measurement(tmp_path, monkeypatch):
  study = dataclasses.replace(SWEPT, budget=TargetTokens(600))
  monkeypatch.setattr(budget, "train", Meter("target_tokens", 50.0, True).train)
  status, _, calls = go(study, tmp_path / "study", LOSSES)
  assert status == INTERRUPTED and calls == []
  meter = Meter("target_tokens", 50.0)
  monkeypatch.setattr(budget, "train", meter.train)
  status, rows, calls = go(study, tmp_path / "study", LOSSES)
  assert status == 0 and len(meter.configs) == 1  # both rows have the same batches
  assert {config.steps for _, _, config in calls} == {12}
  text = (tmp_path / "study" / "table.md").read_text()
  assert "Budget: 600 target tokens" in text
  assert all(row.trained.steps == 12 for row in rows)


def test_a_swept_setting_stays_within_the_budget(tmp_path, monkeypatch):
  def measured(config, path, stop_at):
    assert config.schedule.rate == SWEPT.base.schedule.rate  # not one that may diverge
    return Meter("target_tokens", config.batching.tokens / 4).train(
      config, path, stop_at
    )

  monkeypatch.setattr(budget, "train", measured)
  settings = {"schedule.rate": (7.0,), "batching.tokens": (192, 384)}
  study = dataclasses.replace(
    SWEPT, rows=SWEPT.rows[:1], budget=TargetTokens(600), sweep=Sweep(settings)
  )
  _, _, calls = go(study, tmp_path / "study", {})
  steps = [(config.batching.tokens, config.steps) for _, _, config in calls]
  assert steps == [(192, 12), (384, 6), (192, 12), (192, 12)]


@pytest.mark.slow
def test_a_budget_and_a_sweep_train_through_the_trainer(tmp_path):
  """Two rows of two trials and two seeds for as many target tokens, within a packed
  batch's variation; what training took is in the table."""
  study = dataclasses.replace(
    SWEPT,
    base=dataclasses.replace(BASE, schedule=Noam()),
    rows=SWEPT.rows[:1],
    sweep=Sweep({"schedule.rate": (1.0, 2.0)}),
    budget=TargetTokens(2_000),
  )
  assert Ablation(study, tmp_path / "study").run() == 0
  with (tmp_path / "study" / "table.csv").open() as file:
    (row,) = csv.DictReader(file)
  assert float(row["target_tokens"]) == pytest.approx(2_000, rel=0.1)
  assert float(row["processor_seconds"]) > 0 and float(row["seconds"]) > 0
  ablation = Ablation(study, tmp_path / "study")
  assert ablation.count() == 0 and ablation.is_done(ablation.rows[0])
  result = json.loads((tmp_path / "study/rows/base/seed-3/study.json").read_text())
  metrics = Metrics.read(tmp_path / "study/rows/base/seed-3")
  assert (
    result["target_tokens"]
    == [v for _, name, v in metrics if name == "train/target_tokens"][-1]
  )


def test_welch_is_welchs():
  """By hand (Welch 1947): t = 2.8284, 2.9412 degrees of freedom."""
  a, b = [1.0, 2.0, 3.0], [3.0, 5.0, 4.0, 8.0]
  va, vb = np.var(a, ddof=1) / 3, np.var(b, ddof=1) / 4
  t = (np.mean(b) - np.mean(a)) / np.sqrt(va + vb)
  freedom = (va + vb) ** 2 / (va**2 / 2 + vb**2 / 3)
  rng = np.random.default_rng(0)
  drawn = rng.standard_t(freedom, 400_000)
  expected = np.mean(np.abs(drawn) >= t)
  assert welch(a, b) == pytest.approx(expected, abs=0.003)
  assert welch(b, a) == pytest.approx(welch(a, b))
  assert welch([1.0], [2.0, 3.0]) is None
  assert welch([1.0, 1.0], [1.0, 1.0]) is None


@pytest.fixture
def opened(browser, tmp_path):
  go(dataclasses.replace(SWEPT, title="A & <b>"), tmp_path / "study", LOSSES)
  browser.view()
  browser.open(tmp_path / "study" / "report.html")
  browser.wait()
  return browser


def test_a_row_opens_to_its_curves(opened):
  assert opened.find("h1").text == "A & <b>" and opened.find("#figure img")
  buttons = opened.find_all("#table tbody th button")
  assert [button.text for button in buttons] == ["base", "wide"]
  assert opened.find_all(".panel") == []
  buttons[1].click()
  assert buttons[1].get_attribute("aria-expanded") == "true"
  names = [each.text for each in opened.find_all(".legend [data-run]")]
  assert names == ["wide, seed 3", "wide, seed 5", "base, seed 3", "base, seed 5"]
  svg = opened.find(".panel[data-metric='val/loss'] svg")
  svg.click()
  opened.press("END")
  values = [
    float(each.get_attribute("data-value"))
    for each in opened.find_all(".readout [data-run]")
  ]
  assert values == [2.0] * 4  # of the chosen trial's setting
  buttons[1].click()
  assert opened.find_all(".panel") == []
  assert re.search("Trials", opened.find("#more").text)
  assert opened.messages() == [] and opened.requests() == []
  opened.view(390, 800, "dark")
  assert opened.run("return document.documentElement.scrollWidth") == 390
