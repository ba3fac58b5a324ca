"""Language modelling on text files: pieces, scores, and continuing a prompt."""

import argparse
import dataclasses
import gzip
import json
import math
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from tests.tiny import language_config
from tests.tiny_run import digest, losses
from transformer import cli
from transformer.batch import EOS, Tokens
from transformer.data.batching import Grouped, Packed
from transformer.data.corpus import Corpus, Pieces
from transformer.data.pipeline import batches
from transformer.data.sources.dates import Dates
from transformer.data.sources.plain_text import PlainText
from transformer.data.sources.standard_library import StandardLibrary
from transformer.data.sources.topics import Topics
from transformer.data.tokenizers.sentence_piece import SentencePieceTokenizer
from transformer.decoding.samplers import Sampler, TopP
from transformer.experiment import Config
from transformer.inference.generate import Generation
from transformer.runs import trainer
from transformer.runs.generator import Generator
from transformer.runs.metrics import Metrics
from transformer.tasks.language_modelling import unigram_loss


@pytest.fixture(scope="module")
def config(tmp_path_factory):
  return language_config(tmp_path_factory.mktemp("text"))


@pytest.fixture
def run(language_run):
  return language_run


@pytest.fixture(scope="module")
def tokenizer(config):
  return SentencePieceTokenizer(
    config.task.make_vocabulary(config.data, config.tokenizer)
  )


def call(capsys, *words):
  status = cli.main([str(word) for word in words])
  return status, *capsys.readouterr()


def test_pieces_are_the_texts_in_order(config, tokenizer, tmp_path):
  texts = ["the cat sat", "a mat and a ball " * 9, "dogs"]
  for name, text in zip("xyz", texts, strict=True):
    (tmp_path / name).write_text(text)
  files = tuple(str(tmp_path / name) for name in "xyz")
  data = PlainText(files, files)
  corpus = Corpus.build(data, "train", tokenizer, tmp_path / "cache", progress=False)
  pieces = Pieces(corpus, 7)
  whole = np.concatenate([pieces[i] for i in range(len(pieces))])
  np.testing.assert_array_equal(whole, np.concatenate(tokenizer.encode(texts)))
  assert [len(pieces[i]) for i in range(len(pieces))] == pieces.lengths_n2[
    :, 0
  ].tolist()
  assert pieces.lengths_n2.max() == 7
  ends = [i for i in range(len(pieces)) if EOS in pieces[i]]
  assert len(ends) == 3 and all(pieces[i][-1] == EOS for i in ends)


@pytest.mark.parametrize("batching", [Packed(96, 24), Grouped(96, (8, 24))])
def test_a_batch_is_tokens_and_an_epoch_is_every_piece_once(
  config, tokenizer, tmp_path, batching
):
  pieces = config.task.pieces(config.data, "val", tokenizer, tmp_path, progress=False)
  plan = batching.plan(pieces.lengths_n2, 0)
  seen = []
  for _, batch in batches(pieces, plan, 0, plan.batches):
    assert isinstance(batch, Tokens)
    for ids, seg in zip(batch.id_bt, batch.seg_bt, strict=True):
      seen += [tuple(ids[seg == n]) for n in range(1, seg.max() + 1)]
  expected = [tuple(pieces[i]) for i in range(len(pieces)) if len(pieces[i]) > 1]
  assert sorted(seen) == sorted(expected)
  assert isinstance(pieces.batch(*plan.batch(0)), Tokens)


def test_the_run_has_scores_and_begins_near_the_worst(run, config):
  scores = {name: value for _, name, value in Metrics.read(run)}
  assert scores["val/perplexity"] == pytest.approx(math.exp(scores["val/loss"]))
  assert 5 < scores["val/unigram_perplexity"] < 100
  assert scores["val/perplexity"] > scores["val/unigram_perplexity"]
  text = config.data.open("val")[0]
  bits = scores["val/loss"] * scores["val/tokens"] / math.log(2) / len(text)
  assert scores["val/bits_per_character"] == pytest.approx(bits)
  assert f"transformer generate {run}" in (run / "report.md").read_text()


def test_a_stopped_run_goes_on_as_the_same_run(run, config, tmp_path, monkeypatch):
  class Now(trainer.Interrupt):
    def __init__(self):
      self.raised = True

  with monkeypatch.context() as patch:
    patch.setattr(trainer, "Interrupt", Now)
    assert trainer.train(config, tmp_path / "run") == trainer.INTERRUPTED
  assert trainer.train(config, tmp_path / "run") == 0
  assert losses(tmp_path / "run") == losses(run)
  assert digest(tmp_path / "run") == digest(run)


def test_the_unigram_baseline_is_counted_by_hand():
  class Texts:
    def __init__(self, *texts):
      self.texts = texts

    def __len__(self):
      return len(self.texts)

    def __getitem__(self, i):
      return np.array(self.texts[i])

  found = unigram_loss(Texts([0, 1, 1], [2]), Texts([1, 2, 3]), 5)
  expected = -np.mean(np.log([3 / 9, 2 / 9, 1 / 9]))
  assert found == pytest.approx(expected)


PROMPTS = ["the cat", "a mat and", "", "two   dogs run: after"]


def test_texts_begin_with_their_prompt_and_do_not_depend_on_the_batch(run):
  continuer = Generator.open(run, Generation(TopP(0.9), max_length=7, samples=2))
  together = continuer.texts(PROMPTS)
  alone = [continuer.texts([prompt])[0] for prompt in PROMPTS]
  assert together == alone
  for prompt, texts in zip(PROMPTS, together, strict=True):
    assert len(texts) == 2 and all(text.startswith(prompt) for text in texts)
  assert any(a != b for a, b in together)


def test_the_seed_and_nothing_else_changes_what_is_drawn(run):
  def drawn(**recipe):
    return Generator.open(run, Generation(max_length=7, **recipe)).texts(PROMPTS)

  assert drawn(seed=3) == drawn(seed=3) != drawn(seed=4)
  greedy = drawn(sampler=Sampler(), seed=3)
  assert greedy == drawn(sampler=Sampler(), seed=4) != drawn(seed=3)


@pytest.mark.parametrize("sampler", [Sampler(), TopP(0.9, temperature=1.5)])
def test_a_stream_is_the_text_bit_by_bit(run, sampler):
  continuer = Generator.open(run, Generation(sampler, max_length=9, seed=5))
  streams = [list(continuer.stream(prompt)) for prompt in PROMPTS]
  assert ["".join(bits) for bits in streams] == [t for (t,) in continuer.texts(PROMPTS)]
  # Bytes that make no character are held back, and this model writes many.
  if sampler != Sampler():
    assert max(map(len, streams)) > 2


def test_the_verb_prints_each_text_and_streams_the_same(run, capsys):
  words = "generate", run, "the cat", "a mat", "--max-length", 5, "--seed", 2
  status, out, err = call(capsys, *words)
  assert status == 0 and err == ""
  assert out.startswith("the cat") and "\na mat" in out
  words = "generate", run, "the cat", "--max-length", 5, "--seed", 2
  assert call(capsys, *words)[1] == call(capsys, *words, "--stream")[1]
  greedy = call(capsys, *words, "--sample", "Sampler()")[1]
  other = "generate", run, "the cat", "--max-length", 5, "--seed", 3
  assert greedy == call(capsys, *other, "--sample", "Sampler()")[1]


def test_evaluate_scores_a_language_model(language_run_copy, capsys):
  run = language_run_copy
  status, out, _ = call(capsys, "evaluate", run, "--split", "val", "--json")
  assert status == 0
  record = json.loads(out)
  scores = {name: value for _, name, value in Metrics.read(run)}
  for name in ("perplexity", "unigram_perplexity", "bits_per_character"):
    assert record[name] == pytest.approx(scores[f"val/{name}"])
  (run / "none").write_text("text\n")
  files = "--source", run / "none", "--reference", run / "none"
  status, _, err = call(capsys, "evaluate", run, *files)
  assert status == 1 and "is LanguageModelling, not Translation" in err
  # Nothing that was asked for is silently left undone.
  for words in (["--beam", 2], ["--suppress", "a"], ["--tokenize", "none"]):
    status, _, err = call(capsys, "evaluate", run, *words)
    assert status == 1 and f"{words[0]}: the task of {run} is LanguageModel" in err


@pytest.mark.parametrize(
  "words, message",
  [
    (
      ["--sample", "TopQ(0.9)"],
      "--sample: no Sampler is named TopQ; did you mean TopP",
    ),
    (["--sample", "TopP(2.0)"], "TopP.p: expected above 0 and at most 1, got 2.0"),
    (["--max-length", "0"], "--max-length: expected 1 or more, got 0"),
    (["--max-length", "24"], "expected at most 24 tokens"),
    (["--seed", "-1"], "--seed: expected 0 to 2**32 - 1, got -1"),
    (["--stream", "--samples", "2"], "--stream prints one text"),
  ],
)
def test_bad_words_get_one_line(run, capsys, words, message):
  status, out, err = call(capsys, "generate", run, "the cat", *words)
  assert status == 1 and out == ""
  assert message in err and err.count("\n") == 1


def test_a_task_and_a_source_or_model_that_do_not_fit_get_one_line(config, tmp_path):
  pairs = dataclasses.replace(config, data=Dates(examples=50, held_out=5))
  with pytest.raises(ValueError, match="expected texts, got Dates"):
    trainer.train(pairs, tmp_path / "run")
  assert not (tmp_path / "run").exists()
  wrong = dataclasses.replace(config, model=Config(Dates()).model)
  with pytest.raises(ValueError, match="Transformer takes Pairs, but the task"):
    trainer.train(wrong, tmp_path / "run")


def test_topics_are_apart_and_none_is_lost():
  from pydoc_data.topics import topics

  parts = {split: Topics().open(split) for split in ("train", "val", "test")}
  texts = [text for part in parts.values() for text in part]
  assert sorted(texts) == sorted(set(topics.values()))
  assert all(parts.values())
  assert len({Topics().fingerprint(split) for split in parts}) == 3


def test_modules_are_apart_and_held_out_ones_end_in_time():
  source = StandardLibrary(held_out_characters=300)
  parts = {split: source.open(split) for split in ("train", "val", "test")}
  paths = list(Path(argparse.__file__).parent.glob("*.py"))
  whole = [path.read_text(encoding="utf-8") for path in paths]
  assert set(parts["train"]) <= set(whole)
  held_out = [*parts["val"], *parts["test"]]
  assert all(parts.values()) and max(map(len, held_out)) == 300
  assert set(held_out) <= {text[:300] for text in whole}
  assert len(parts["train"]) + len(held_out) == len(whole)
  assert len({source.fingerprint(split) for split in parts}) == 3
  with pytest.raises(ValueError, match="characters: expected 1 or more, got 0"):
    StandardLibrary(held_out_characters=0)


def test_a_python_without_source_files_is_told(tmp_path, monkeypatch):
  monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
  with pytest.raises(ValueError, match="without its source files"):
    StandardLibrary().open("train")


def test_text_files_are_documents_or_lines(tmp_path):
  (tmp_path / "a").write_text("".join(f"line {i}\n" for i in range(40)))
  (tmp_path / "b.gz").write_bytes(gzip.compress(b"one\n\n  two\n"))
  a, b = str(tmp_path / "a"), str(tmp_path / "b.gz")
  whole = PlainText((a,), (b,))
  assert whole.open("train")[0].split("\n")[-1] == "line 39"
  assert whole.open("val") == whole.open("test") == ["one\n\n  two"]
  assert PlainText((a,), (b,), lines=True).open("val") == ["one", "  two"]
  shared = PlainText((a,), lines=True)
  assert shared.open("train") == [f"line {i}" for i in range(38)]
  assert shared.open("val") == shared.open("test") == ["line 38", "line 39"]
  assert shared.fingerprint("train") != shared.fingerprint("val")
  with pytest.raises(ValueError, match=r"b\.gz: no text for 'val'"):
    PlainText((b,)).open("val")
  with pytest.raises(FileNotFoundError, match="none: no such file"):
    PlainText((str(tmp_path / "none"),)).open("train")
