"""The loop: a stopped run goes on as the same run, and bad input gets one line."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.models.test_family import KINDS, small
from transformer import config as configs
from transformer import run as runs
from transformer import tree
from transformer.data.batching import Grouped, Packed
from transformer.data.sources.dates import Dates
from transformer.data.sources.text import ParallelText
from transformer.data.tokenizer import SentencePiece
from transformer.experiment import Config
from transformer.models.seq2seq import Transformer
from transformer.run import Metrics, Run

ROOT = Path(__file__).resolve().parent.parent

TINY = Config(
  data=Dates(examples=200, held_out=12),
  model=Transformer(layers=2, d_model=16, d_ff=24, heads=2),
  tokenizer=SentencePiece(vocabulary=560),
  batching=Packed(tokens=192, length=64),
  steps=6,
  log_every=1,
  eval_every=6,
  save_every=2,
)


def train(path, **changes):
  return runs.train(dataclasses.replace(TINY, **changes), path)


def losses(path):
  return [(s, v) for s, name, v in Metrics.read(path) if name == "train/loss"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  """An uninterrupted run, not to be changed."""
  path = tmp_path_factory.mktemp("runs") / "whole"
  assert train(path) == 0
  return path


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
  report = (whole / "report.md").read_text()
  assert f"transformer translate {whole}" in report
  assert f"transformer average {whole} --last 3\n" in report


def test_a_stopped_run_goes_on_as_the_same_run(whole, tmp_path, monkeypatch, capsys):
  class Now(runs.Interrupt):
    def __init__(self):
      self.raised = True

  with monkeypatch.context() as patch:
    patch.setattr(runs, "Interrupt", Now)
    assert train(tmp_path / "run") == runs.INTERRUPTED
    assert Run.open(tmp_path / "run").steps() == [1]
    assert train(tmp_path / "run") == runs.INTERRUPTED
  assert Run.open(tmp_path / "run").steps() == [1, 2]
  assert train(tmp_path / "run") == 0
  assert losses(tmp_path / "run") == losses(whole)
  assert digest(tmp_path / "run") == digest(whole)
  assert "the same command goes on" in capsys.readouterr().err


def test_a_longer_run_begins_as_the_shorter_one(whole, tmp_path):
  assert train(tmp_path / "run", steps=4) == 0
  assert train(tmp_path / "run", steps=6) == 0
  assert digest(tmp_path / "run") == digest(whole)
  assert losses(tmp_path / "run") == losses(whole)


@pytest.mark.parametrize(
  "kind", [kind for kind in KINDS.values() if kind is not Transformer]
)
def test_every_member_goes_on_as_the_same_run(kind, tmp_path, monkeypatch):
  class Now(runs.Interrupt):
    def __init__(self):
      self.raised = True

  changes = dict(model=small(kind), steps=3, eval_every=3, save_every=3)
  assert train(tmp_path / "whole", **changes) == 0
  with monkeypatch.context() as patch:
    patch.setattr(runs, "Interrupt", Now)
    assert train(tmp_path / "run", **changes) == runs.INTERRUPTED
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


def test_a_corpus_smaller_than_a_batch_is_refused_and_can_be_mended(tmp_path):
  with pytest.raises(ValueError, match=r"less than one batch .*batching\.tokens"):
    train(tmp_path, batching=Grouped(tokens=60_000))
  assert train(tmp_path, steps=1, eval_every=1) == 0


def test_a_directory_that_is_something_else_is_refused(tmp_path):
  (tmp_path / "notes.txt").write_text("mine")
  with pytest.raises(ValueError, match="not a run and not empty"):
    train(tmp_path)
  assert (tmp_path / "notes.txt").read_text() == "mine"
  with pytest.raises(FileNotFoundError, match="not a run"):
    Run.open(tmp_path)


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


def test_metrics_of_steps_to_come_again_are_taken_out(tmp_path):
  metrics = Metrics(tmp_path, 0)
  for step in (1, 2, 3):
    metrics.write(step, {"train/loss": 1.0 / step})
  metrics.close()
  with (tmp_path / "metrics.csv").open("a") as file:
    file.write("4,train/lo")
  Metrics(tmp_path, 2).close()
  assert Metrics.read(tmp_path) == [(1, "train/loss", 1.0), (2, "train/loss", 0.5)]


def command(path, *flags):
  config = path.parent / "tiny.py"
  config.write_text(
    "from transformer import config\nfrom transformer.experiment import Config\n"
    f"def get_config():\n  return config.loads(Config, {configs.dumps(TINY)!r})\n"
  )
  return [
    sys.executable, str(ROOT / "train.py"), "--config", str(config),
    "--workdir", str(path), "--config.steps=40", "--config.eval_every=40", *flags,
  ]  # fmt: skip


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_as_the_same_run(tmp_path):
  def until_done(path, signals):
    number = 0
    while True:
      process = subprocess.Popen(command(path), cwd=ROOT, stderr=subprocess.PIPE)
      if number < len(signals):
        kind, first = signals[number]
        stop = time.monotonic() + 300
        while not list((path / "checkpoints").glob("[0-9]*")) and number == 0:
          assert process.poll() is None and time.monotonic() < stop
          time.sleep(0.05)
        time.sleep(first)
        process.send_signal(kind)
      number += 1
      status = process.wait(timeout=300)
      process.stderr.close()
      if status == 0:
        return number
      assert status in (runs.INTERRUPTED, -signal.SIGKILL, -signal.SIGTERM)

  until_done(tmp_path / "whole", [])
  kills = [(signal.SIGKILL, 0.1), (signal.SIGKILL, 4.0), (signal.SIGTERM, 5.5),
           (signal.SIGKILL, 6.5), (signal.SIGKILL, 5.0)]  # fmt: skip
  assert until_done(tmp_path / "killed", kills) > 1
  assert digest(tmp_path / "killed") == digest(tmp_path / "whole")
  assert losses(tmp_path / "killed") == losses(tmp_path / "whole")


@pytest.mark.parametrize(
  "flag, message",
  [
    ("--config.model.layer=3", "did you mean model.layers"),
    ("--config.steps=many", "expected a whole number"),
    ("--config.model.position=Sinusoids()", "did you mean Sinusoid"),
    ("--config.model.heads=3", "does not divide"),
    ("steps=3", "settings are written --config.name=value"),
  ],
)
def test_the_command_answers_a_bad_setting_with_one_line(tmp_path, flag, message):
  done = subprocess.run(
    command(tmp_path / "run", flag), cwd=ROOT, capture_output=True, text=True,
    env={**os.environ, "PYTHONWARNINGS": "ignore"},
  )  # fmt: skip
  assert done.returncode == 1
  assert message in done.stderr
  assert done.stderr.count("\n") == 1 and done.stderr.startswith("error: ")
  assert not (tmp_path / "run").exists()
