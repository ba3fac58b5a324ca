"""Language modelling with a memory, on text files."""

import csv
import dataclasses
import math
import shutil

import jax
import numpy as np
import pytest

from tests.inference.test_devices import assert_scores_of_one_device
from tests.models.test_family import small
from tests.tasks.test_language_modelling import call
from tests.tiny import language_config, write_text
from tests.tiny_run import Now, digest, losses
from transformer import config as configs
from transformer import experiment
from transformer.batch import BOS, EOS, PAD, Tokens
from transformer.data.corpus import Corpus, TextSegments
from transformer.data.pipeline import all_rows
from transformer.data.sources.plain_text import PlainText
from transformer.decoding.samplers import TopP
from transformer.inference.generate import Generation, sample_batch
from transformer.models.transformer_xl import TransformerXL
from transformer.runs import trainer
from transformer.runs.generator import Generator
from transformer.runs.metrics import Metrics
from transformer.runs.run import Run
from transformer.studies import perplexity_by_memory
from transformer.tasks.segment_language_modelling import (
  SegmentLanguageModelling,
  next_token_targets,
  segment_by_segment,
)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
  folder = tmp_path_factory.mktemp("text")
  train = tuple(write_text(folder / f"t{i}", 300, i) for i in range(3))
  val = tuple(write_text(folder / f"v{i}", n, 9 + i) for i, n in enumerate((90, 30)))
  return dataclasses.replace(
    language_config(folder),
    data=PlainText(train, val),
    model=dataclasses.replace(small(TransformerXL), dropout=0.1),
    task=SegmentLanguageModelling(
      context=23,
      memory_length=30,
      eval_memory_length=10,
      generation=Generation(max_length=6),
    ),
  )


@pytest.fixture(scope="module")
def run(config, tmp_path_factory):
  path = tmp_path_factory.mktemp("runs") / "xl"
  assert trainer.train(config, path) == 0
  return path


def test_continuations_are_the_stream_of_a_text(run, tmp_path):
  opened = Run.open(run)
  data = opened.config.data
  texts = Corpus.build(data, "train", opened.tokenizer, tmp_path, progress=False)
  pieces = TextSegments(texts, 7, 12)
  at = 0
  for i in range(len(texts)):
    stream = [BOS, *texts[i][0]]
    for start in range(0, len(stream) - 1, 7):
      before, text = pieces[at]
      assert before.tolist() == stream[max(0, start - 12) : start]
      assert text.tolist() == stream[start : start + 8]
      sizes = pieces.lengths_n2[at].tolist()
      assert sizes == [len(before), len(text)]
      at += 1
  assert at == len(pieces)


def test_batches_without_room_for_most_pieces_are_refused(config, tmp_path):
  task = dataclasses.replace(config.task, memory_length=60)
  with pytest.raises(ValueError, match=r"is too short for .* of up to 60 tokens"):
    trainer.train(dataclasses.replace(config, task=task), tmp_path / "run")


def test_every_token_is_told_once_an_epoch(run):
  opened = Run.open(run)
  c = opened.config
  training_data = c.task.training_data(
    c.data, opened.tokenizer, c.batching, 0, opened.cache
  )
  targets = []
  for _, batch in training_data.batches(0, training_data.steps_per_epoch, all_rows):
    target = jax.tree.map(np.asarray, next_token_targets(batch.text))
    targets += target.id_bt[target.seg_bt != 0].tolist()
    assert batch.context.id_bt.shape == batch.text.id_bt.shape == (4, 48)
  texts = Corpus.build(c.data, "train", opened.tokenizer, opened.cache, progress=False)
  assert sorted(targets) == sorted(n for i in range(len(texts)) for n in texts[i][0])


def test_a_token_tells_the_next_of_its_example():
  ids = np.array([[5, 6, 7, 8, 9, 0], [4, 5, 6, 7, 8, 9]])
  pos = np.array([[0, 1, 0, 1, 2, 0], [0, 1, 2, 3, 4, 5]])
  seg = np.array([[1, 1, 2, 2, 2, 0], [1, 1, 1, 1, 1, 1]])
  found = next_token_targets(Tokens(ids, pos, seg))
  expected = [[1, 0, 2, 2, 0, 0], [1, 1, 1, 1, 1, 0]]
  np.testing.assert_array_equal(found.seg_bt, expected)
  np.testing.assert_array_equal(found.id_bt[:, :-1], ids[:, 1:])


def test_a_stopped_run_goes_on_as_the_same_run(run, config, tmp_path, monkeypatch):
  with monkeypatch.context() as patch:
    patch.setattr(trainer, "Interrupt", Now)
    assert trainer.train(config, tmp_path / "run") == trainer.INTERRUPTED
  assert trainer.train(config, tmp_path / "run") == 0
  assert losses(tmp_path / "run") == losses(run)
  assert digest(tmp_path / "run") == digest(run)


def test_a_text_is_read_whole_whatever_its_company(run):
  opened = Run.open(run)
  texts = Corpus.build(
    opened.config.data, "val", opened.tokenizer, opened.cache, progress=False
  )
  given = opened.module(), opened.params()

  class One:
    def __init__(self, i):
      self.i, self.lengths_n2 = i, texts.lengths_n2[i : i + 1]

    def __getitem__(self, _):
      return texts[self.i]

  together = segment_by_segment(*given, texts, 23, 10)
  apart = [segment_by_segment(*given, One(i), 23, 10) for i in range(len(texts))]
  assert len(apart) == 2
  assert float(together.count) == texts.lengths_n2.sum()
  total = sum(float(one.total) for one in apart)
  assert float(together.total) == pytest.approx(total, rel=1e-5)
  scores = {name: value for _, name, value in Metrics.read(run)}
  assert scores["val/loss"] == pytest.approx(float(together.value), rel=1e-5)
  assert scores["val/perplexity"] == pytest.approx(math.exp(scores["val/loss"]))
  # Once all is remembered, the length of the segments does not matter.
  most = int(texts.lengths_n2.max())
  for length in (11, most):
    whole = segment_by_segment(*given, texts, length, most)
    assert float(whole.value) == pytest.approx(
      float(segment_by_segment(*given, texts, 40, most).value), rel=1e-5
    )
  assert abs(float(whole.value) - float(together.value)) > 1e-6


def test_memory_is_a_setting_of_evaluation(config):
  task = dataclasses.replace(config.task, eval_memory_length=99)
  assert (
    experiment.resume_conflicts(config, dataclasses.replace(config, task=task)) == []
  )
  task = dataclasses.replace(config.task, memory_length=99)
  assert experiment.resume_conflicts(config, dataclasses.replace(config, task=task))
  with pytest.raises(
    ValueError, match=r"task\.eval_memory_length: expected 0 or more, got -1"
  ):
    SegmentLanguageModelling(eval_memory_length=-1)


def test_the_study_of_memory_writes_a_table_and_a_figure(run, tmp_path, capsys):
  words = [str(run), "--memory", "0", "10", "40", "--split", "val"]
  assert perplexity_by_memory.main([*words, "--output", str(tmp_path / "m")]) == 0
  with (tmp_path / "m.csv").open(newline="") as file:
    rows = list(csv.DictReader(file))
  assert [row["row"] for row in rows] == [f"xl, memory {n}" for n in (0, 10, 40)]
  scores = {name: value for _, name, value in Metrics.read(run)}
  assert float(rows[1]["tokens"]) == scores["val/tokens"]
  perplexity = float(rows[1]["perplexity"])
  assert perplexity == pytest.approx(scores["val/perplexity"], rel=1e-5)
  assert (tmp_path / "m.png").stat().st_size > 0
  assert "memory 40" in capsys.readouterr().out
  assert perplexity_by_memory.main([str(run), "--memory", "-1"]) == 1
  assert "--memory: -1 is negative" in capsys.readouterr().err


def test_seeds_are_one_line_of_the_study_of_memory(run, tmp_path):
  seed, other = tmp_path / "seed", tmp_path / "other"
  config = Run.open(run).config
  for path, change in ((seed, {"seed": 7}), (other, {"steps": 99})):
    shutil.copytree(run, path)
    changed = dataclasses.replace(config, **change)
    (path / "config.json").write_text(configs.dumps(changed), encoding="utf-8")
  rows = perplexity_by_memory.measure([run, seed, other], "val", (5,))
  assert [row.row for row in rows] == [
    f"{n}, memory 5" for n in ("xl", "seed", "other")
  ]
  assert [row.seed for row in rows] == [0, 7, 0]
  rows = [
    row._replace(perplexity=value, memory=memory)
    for memory, values in ((5, (2, 4, 9)), (30, (1, 2, 9)))
    for row, value in zip(rows, values, strict=True)
  ]
  assert {row.memory_length for row in rows} == {30}
  both, one, *at_length = perplexity_by_memory.points(rows)
  assert (both.run, both.memory) == ("xl and others, mean of 2 seeds", 5)
  assert (both.perplexity.mean, both.perplexity.seeds) == (3, 2)
  assert both.perplexity.deviation == pytest.approx(2**0.5)
  # Seed by seed: 2 - 1 and 4 - 2.
  assert both.change and both.change[::2] == (1.5, 2)
  assert both.change.deviation == pytest.approx(0.5**0.5)
  assert (one.run, one.perplexity, one.change) == ("other", (9, 0, 1), (0, 0, 1))
  assert [point.change and point.change.mean for point in at_length] == [0, 0]
  unknown = [row._replace(memory_length=7) for row in rows]
  assert {point.change for point in perplexity_by_memory.points(unknown)} == {None}


def test_it_generates(run, capsys):
  words = "generate", run, "the cat", "--max-length", 5, "--seed", 2
  status, out, _ = call(capsys, *words)
  assert status == 0 and out.startswith("the cat")
  assert call(capsys, *words, "--stream")[1] == out
  # As it stands, and after more tokens than a segment has.
  for prompt in ("the cat", "the cat sat on a mat and saw " * 3):
    status, out, err = call(capsys, "generate", run, prompt)
    assert status == 0 and out.startswith("the cat") and err == ""
  status, _, err = call(capsys, "generate", run, "the cat", "--max-length", 60)
  assert status == 1 and "expected at most 53 tokens" in err
  status, _, err = call(capsys, "generate", run, "the cat " * 90)
  assert status == 1 and "expected fewer than 53 tokens, the context in" in err


def test_samples_continue_the_prompt_and_stop_at_eos(run):
  recipe = Generation(TopP(1.0), max_length=16, samples=128)
  generator = Generator.open(run, recipe)
  (ids,) = generator.encode(["the cat"])
  padded = generator.pad([ids], 1, generator.capacity(ids))
  module, params = generator.module, generator.params
  capacity, key = generator.capacity(ids), jax.random.key(recipe.seed)
  output = sample_batch(
    module, recipe.sampler, recipe.samples, params, *padded, capacity, key
  )
  token_wt = np.asarray(output.token_bwt)[0]
  sizes = [token_t.tolist().index(EOS) for token_t in token_wt]
  # Some samples end before the limit, where EOS is forced.
  assert len(ids) <= min(sizes) < max(sizes) == len(ids) + 16
  for token_t, size in zip(token_wt, sizes, strict=True):
    np.testing.assert_array_equal(token_t[: len(ids)], ids)
    assert np.all(token_t[:size] != PAD) and np.all(token_t[size + 1 :] == PAD)
  (texts,) = generator.texts(["the cat"])
  assert all(text.startswith("the cat") for text in texts)


@pytest.mark.slow
def test_eight_devices_score_texts_with_memory_as_one_does(run, eight_devices):
  assert_scores_of_one_device(eight_devices, run)
