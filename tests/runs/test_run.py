"""The loop: a stopped run resumes as the same run, and bad input gets one line."""

import dataclasses
import json
import shutil

import pytest

from tests.models.test_family import KINDS, small
from tests.tiny import TINY
from tests.tiny_run import Now, digest, losses, train
from transformer.data.batching import Grouped
from transformer.data.sources.dates import Dates
from transformer.data.sources.parallel_text import ParallelText
from transformer.data.tokenizers.sentence_piece import SentencePiece
from transformer.models.transformer import Transformer
from transformer.runs import prepare, trainer
from transformer.runs.directory import claim
from transformer.runs.metrics import Metrics
from transformer.runs.run import Run, recorded_digests
from transformer.tasks.base import Samples


@pytest.fixture
def whole(translation_run):
  """An uninterrupted run, not to be changed."""
  return translation_run


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


def test_notes_of_older_runs_have_the_training_texts_digest_alone():
  assert recorded_digests({"data_sha256": "a"}) == {"train": "a"}
  both = {"train": "a", "val": "b"}
  assert recorded_digests({"data_sha256": both}) == both
