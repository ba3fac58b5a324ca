"""The loop: a stopped run resumes as the same run, and bad input gets one line."""

import dataclasses
import json
import os
import re
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.models.test_family import KINDS, small
from tests.tiny import TINY
from transformer import tree
from transformer.data.batching import Grouped
from transformer.data.sources.dates import Dates
from transformer.data.sources.parallel_text import ParallelText
from transformer.data.tokenizers.sentence_piece import SentencePiece
from transformer.experiment import TASKS
from transformer.models.transformer import Transformer
from transformer.runs import prepare, trainer
from transformer.runs.directory import claim
from transformer.runs.metrics import Metrics
from transformer.runs.progress import Progress
from transformer.runs.run import Run, recorded_digests
from transformer.tasks.base import Samples
from transformer.training.keep import Keep
from transformer.training.schedules import Schedule

ROOT = Path(__file__).resolve().parents[2]


def train(path, **changes):
  return trainer.train(dataclasses.replace(TINY, **changes), path)


def metrics_of(path, wanted):
  return [(step, value) for step, name, value in Metrics.read(path) if name == wanted]


def losses(path):
  return metrics_of(path, "train/loss")


@pytest.fixture
def whole(translation_run):
  """An uninterrupted run, not to be changed."""
  return translation_run


def digest(path, step=None):
  return tree.sha256(Run.open(path).params(step))


def test_a_run_is_complete_in_itself(whole, tmp_path):
  for name in (
    "config.json",
    "tokenizer.model",
    "metrics.csv",
    "report.md",
    "curves.png",
  ):
    assert (whole / name).stat().st_size > 0, name
  assert list((whole / "tensorboard").iterdir())
  assert [step for step, _ in losses(whole)] == [1, 2, 3, 4, 5, 6]
  names = {name for _, name, _ in Metrics.read(whole)}
  assert {"val/loss", "val/bleu", "val/chrf", "val/exact_match"} <= names
  copy = shutil.copytree(whole, tmp_path / "copy")
  assert digest(copy) == digest(whole)
  assert Run.open(copy).config == TINY
  samples = json.loads((whole / "samples.json").read_text())
  assert samples["step"] == 6 and samples["split"] == "val"
  sources = [pair[0] for pair in TINY.data.open("val")]
  assert [row[0] for row in samples["rows"]] == sources
  report = (whole / "report.md").read_text()
  assert f"transformer translate {whole}" in report
  assert f"transformer average {whole} --last 3\n" in report
  assert f"tensorboard --logdir {whole}/tensorboard    # after pip install" in report


class Now(trainer.Interrupt):
  """SIGTERM before the first step."""

  def __init__(self):
    super().__init__()
    self.raised = True


def test_a_stopped_run_resumes_as_the_same_run(whole, tmp_path, monkeypatch, capsys):
  with monkeypatch.context() as patch:
    patch.setattr(trainer, "Interrupt", Now)
    assert train(tmp_path / "run") == trainer.INTERRUPTED
    assert Run.open(tmp_path / "run").steps() == [1]
    assert train(tmp_path / "run") == trainer.INTERRUPTED
  assert Run.open(tmp_path / "run").steps() == [1, 2]
  assert train(tmp_path / "run") == 0
  assert losses(tmp_path / "run") == losses(whole)
  assert digest(tmp_path / "run") == digest(whole)
  assert "the same command resumes it" in capsys.readouterr().err


def test_a_longer_run_begins_as_the_shorter_one(whole, tmp_path):
  assert train(tmp_path / "run", steps=4) == 0
  assert train(tmp_path / "run", steps=6) == 0
  assert digest(tmp_path / "run") == digest(whole)
  assert losses(tmp_path / "run") == losses(whole)


@pytest.mark.slow
@pytest.mark.parametrize(
  "kind", [kind for kind in KINDS.values() if kind is not Transformer]
)
def test_every_model_resumes_as_the_same_run(kind, tmp_path, monkeypatch):
  # What is evaluated has no part in it, and costs more than the steps.
  scores = {metric.name: 1.0 for metric in TINY.task.scores}
  monkeypatch.setattr(type(TINY.task), "evaluate", lambda *_: (scores, Samples(())))
  changes = dict(model=small(kind), steps=2, eval_every=2, save_every=2)
  assert train(tmp_path / "whole", **changes) == 0
  with monkeypatch.context() as patch:
    patch.setattr(trainer, "Interrupt", Now)
    assert train(tmp_path / "run", **changes) == trainer.INTERRUPTED
  assert Run.open(tmp_path / "run").steps() == [1]
  assert train(tmp_path / "run", **changes) == 0
  assert losses(tmp_path / "run") == losses(tmp_path / "whole")
  assert digest(tmp_path / "run") == digest(tmp_path / "whole")


def test_another_seed_is_another_run(whole, tmp_path):
  assert train(tmp_path / "run", seed=1, steps=2, eval_every=2) == 0
  assert losses(tmp_path / "run")[0] != losses(whole)[0]


def test_a_finished_run_says_so_and_does_not_train(whole, capsys):
  before = digest(whole)
  assert train(whole) == 0
  assert "already at step 6 of 6; raise --config.steps" in capsys.readouterr().out
  assert digest(whole) == before


def test_the_newest_checkpoints_stay(whole):
  assert Run.open(whole).steps() == [2, 4, 6]


def test_a_stray_directory_is_no_checkpoint(whole, tmp_path):
  copy = shutil.copytree(whole, tmp_path / "copy")
  (copy / "checkpoints" / "99").mkdir()
  assert Run.open(copy).steps() == [2, 4, 6]
  assert digest(copy) == digest(whole)


@pytest.mark.parametrize(
  "changes, path",
  [
    (dict(seed=1), "seed: 0 in the run, 1 now"),
    (dict(model=dataclasses.replace(TINY.model, d_ff=32)), "model.d_ff: 24 in the run"),
    (dict(data=Dates(examples=201, held_out=12)), "data.examples: 200 in the run"),
  ],
)
def test_another_config_is_refused(whole, changes, path):
  with pytest.raises(ValueError, match=path) as error:
    train(whole, **changes)
  assert str(whole) in str(error.value) and "\n" not in str(error.value)
  assert Run.open(whole).config == TINY


def test_a_corpus_that_cannot_be_used_leaves_nothing_behind(tmp_path):
  path = tmp_path / "run"
  (tmp_path / "a").write_text("one\ntwo\n")
  (tmp_path / "b").write_text("eins\n")
  missing = ParallelText(str(tmp_path / "none"), str(tmp_path / "b"))
  with pytest.raises(FileNotFoundError, match="none: no such file"):
    train(path, data=missing)
  crooked = ParallelText(str(tmp_path / "a"), str(tmp_path / "b"))
  with pytest.raises(ValueError, match=r"2 lines, .*b: 1; the two sides"):
    train(path, data=crooked)
  with pytest.raises(ValueError, match="vocabulary: 90,000 is more than the corpus"):
    train(path, tokenizer=SentencePiece(vocabulary=90_000))
  assert not path.exists()


@pytest.mark.slow
def test_a_corpus_smaller_than_a_batch_is_trained_on(tmp_path):
  assert train(tmp_path, batching=Grouped(tokens=60_000), steps=2, eval_every=2) == 0
  assert Run.open(tmp_path).steps() == [2]


@pytest.mark.slow
def test_ten_pairs_are_trained_on_and_evaluated(tmp_path, capsys):
  for name in ("a", "b"):
    (tmp_path / name).write_text("".join(f"one two {i}\n" for i in range(10)))
  data = ParallelText(str(tmp_path / "a"), str(tmp_path / "b"))
  tokenizer = SentencePiece(vocabulary=275)
  assert train(tmp_path / "run", data=data, tokenizer=tokenizer) == 0
  message = capsys.readouterr().err
  assert "train is lines 1 to 8, val is lines 9 to 9, test is lines 10 to 10" in message
  run = Run.open(tmp_path / "run")
  assert "val/bleu" in {name for _, name, _ in Metrics.read(run.path)}


def test_no_examples_to_evaluate_on_are_refused_before_training(tmp_path):
  for name in ("a", "b", "none"):
    (tmp_path / name).write_text("one two\n" * (40 * (name != "none")))
  a, b, none = (str(tmp_path / name) for name in ("a", "b", "none"))
  data = ParallelText(a, b, val_source=none, val_target=none)
  with pytest.raises(ValueError, match=r"--config\.data: the val split of .*no ex"):
    train(tmp_path / "run", data=data, tokenizer=SentencePiece(vocabulary=275))


def test_a_directory_that_is_something_else_is_refused(tmp_path):
  (tmp_path / "notes.txt").write_text("mine")
  with pytest.raises(ValueError, match="not a run and not empty"):
    train(tmp_path)
  assert (tmp_path / "notes.txt").read_text() == "mine"
  with pytest.raises(FileNotFoundError, match="not a run"):
    Run.open(tmp_path)


def test_a_run_that_was_killed_between_its_two_files_is_made_again(
  tmp_path, monkeypatch
):
  def write_the_first(path, data):
    path.write_bytes(data)
    raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(prepare, "write_atomic", write_the_first)
    with pytest.raises(KeyboardInterrupt):
      train(tmp_path)
  with claim(tmp_path, "config.json", "run"):
    prepare.prepare(TINY, tmp_path)
  assert Run.open(tmp_path).config == TINY


@pytest.mark.parametrize(
  "change, message",
  [
    (lambda t: t | {"steps": "many"}, "config.steps"),
    (lambda t: t | {"stepps": 3}, "did you mean steps"),
    (lambda t: t | {"model": {"type": "os.system"}}, "os.system"),
    (lambda t: t["data"], "Dates"),
  ],
)
def test_a_hostile_config_is_refused(whole, tmp_path, change, message):
  copy = shutil.copytree(whole, tmp_path / "copy")
  stored = json.loads((copy / "config.json").read_text())
  (copy / "config.json").write_text(json.dumps(change(stored)))
  with pytest.raises(ValueError, match=message) as error:
    Run.open(copy)
  assert str(copy) in str(error.value)


def test_a_damaged_tokenizer_is_refused(whole, tmp_path):
  copy = shutil.copytree(whole, tmp_path / "copy")
  (copy / "tokenizer.model").write_bytes(b"\x80\x04not a model")
  with pytest.raises(ValueError, match="the model is damaged"):
    Run.open(copy)


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


def scores(path):
  return [row for row in Metrics.read(path) if row[1].startswith("val/")]


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


def test_notes_of_older_runs_have_the_training_texts_digest_alone():
  assert recorded_digests({"data_sha256": "a"}) == {"train": "a"}
  both = {"train": "a", "val": "b"}
  assert recorded_digests({"data_sha256": both}) == both
