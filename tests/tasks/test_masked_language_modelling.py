"""Masked language modelling and what is fine-tuned from it, on text files."""

import collections
import dataclasses
import json
import math

import jax
import numpy as np
import pytest

from tests.inference.test_devices import assert_scores_of_one_device
from tests.models.test_family import small
from tests.models.test_transformer import tokens
from tests.tasks.test_language_modelling import call
from tests.tiny import language_config
from tests.tiny_run import Now, digest, losses
from transformer.batch import BOS, EOS, MASK, PAD
from transformer.data.batching import Grouped, Packed
from transformer.data.sources.dates import Dates
from transformer.data.sources.display_names import LOCALES, DisplayNames, known
from transformer.data.tokenizers.sentence_piece import SentencePiece
from transformer.inference.fill import encode_masked
from transformer.models.bert import Bert, BertClassifier
from transformer.runs import trainer
from transformer.runs.filler import Filler
from transformer.runs.metrics import Metrics
from transformer.runs.run import Run
from transformer.tasks.classification import Unreadable
from transformer.tasks.masked_language_modelling import (
  MaskedLanguageModelling,
  MaskedTexts,
  mask,
  unigram_scores,
)
from transformer.tasks.text_classification import LabelledTexts, TextClassification


@pytest.fixture(scope="module")
def config(tmp_path_factory):
  return dataclasses.replace(
    language_config(tmp_path_factory.mktemp("text")),
    model=dataclasses.replace(small(Bert), dropout=0.1),
    task=MaskedLanguageModelling(context=24),
  )


@pytest.fixture(scope="module")
def run(config, tmp_path_factory):
  path = tmp_path_factory.mktemp("runs") / "bert"
  assert trainer.train(config, path) == 0
  return path


LABELS = ("de", "fi")


@dataclasses.dataclass(frozen=True)
class Two(DisplayNames):
  """WordVocabulary in two languages alone."""

  @property
  def classes(self):
    return LABELS

  def labels(self, split):
    return [label % 2 for label in super().labels(split)]


def fine(config, run):
  return dataclasses.replace(
    config,
    data=Two(examples=60, held_out=14, several=2),
    model=dataclasses.replace(small(BertClassifier), classes=2, dropout=0.1),
    task=TextClassification(LABELS, context=40),
    batching=Grouped(tokens=96, lengths=(16, 48)),
    init=str(run),
    metric="accuracy",
  )


def test_the_scores_of_a_run_agree_with_counts_of_its_text(run):
  opened = Run.open(run)
  data, tokenizer = opened.config.data, opened.tokenizer
  train, val = (
    [ids[:-1].tolist() for ids in tokenizer.encode(data.open(split))]
    for split in ("train", "val")
  )
  # Pieces of 23 tokens after BOS, and 15% of each, at least one token, are targets.
  sizes = [len(ids[at : at + 23]) for ids in val for at in range(0, len(ids), 23)]
  texts = opened.config.task.pieces(data, "val", tokenizer, opened.cache, False)
  masked = MaskedTexts(texts, 0.15, tokenizer.size)
  targets = [n for i in range(len(masked)) for n in masked[i].target if n != PAD]
  counts = collections.Counter(n for ids in train for n in ids)
  total = sum(counts.values()) + tokenizer.size - 4
  ((most, _),) = counts.most_common(1)
  scores = {name: value for _, name, value in Metrics.read(run)}
  assert scores["val/tokens"] == sum(max(1, round(0.15 * n)) for n in sizes)
  assert scores["val/tokens"] == len(targets)
  hits = scores["val/accuracy"] * len(targets)
  assert hits == pytest.approx(round(hits), abs=1e-3)
  accuracy = targets.count(most) / len(targets)
  assert scores["val/unigram_accuracy"] == pytest.approx(accuracy)
  nats = -np.mean([math.log((counts[n] + 1) / total) for n in targets])
  assert scores["val/unigram_loss"] == pytest.approx(nats)
  assert f"transformer fill {run}" in (run / "report.md").read_text()


def stopped(config, path, monkeypatch):
  with monkeypatch.context() as patch:
    patch.setattr(trainer, "Interrupt", Now)
    assert trainer.train(config, path) == trainer.INTERRUPTED
  assert trainer.train(config, path) == 0


def test_a_stopped_run_goes_on_as_the_same_run(run, config, tmp_path, monkeypatch):
  stopped(config, tmp_path / "run", monkeypatch)
  assert losses(tmp_path / "run") == losses(run)
  assert digest(tmp_path / "run") == digest(run)


@pytest.mark.slow
def test_a_run_is_fine_tuned_and_goes_on_as_the_same_run(
  run, config, tmp_path, monkeypatch, eight_devices
):
  tuned = fine(config, run)
  assert trainer.train(tuned, tmp_path / "whole") == 0
  stopped(tuned, tmp_path / "run", monkeypatch)
  assert losses(tmp_path / "run") == losses(tmp_path / "whole")
  assert digest(tmp_path / "run") == digest(tmp_path / "whole")
  scores = {name: value for _, name, value in Metrics.read(tmp_path / "whole")}
  assert scores["val/texts"] == 14
  labels = tuned.data.labels("train")
  most = max(set(labels), key=labels.count)
  expected = np.mean(np.array(tuned.data.labels("val")) == most)
  assert scores["val/majority_accuracy"] == pytest.approx(expected)
  opened = Run.open(tmp_path / "whole")
  given = opened.module(), opened.params(), opened.tokenizer
  texts = ["Suomi", "Frankreich, Brasilien", "", "x " * 90]
  found = list(tuned.task.classify(*given, texts))
  for one, text in zip(found, texts, strict=True):
    name, names, shares = one
    if not text:
      assert one == ("", (), ())
      continue
    assert name == text and sorted(names) == sorted(LABELS) and shares[0] >= shares[1]
    assert sum(shares) == pytest.approx(1.0, abs=1e-5)
    assert list(tuned.task.classify(*given, [text])) == [one]
  assert_scores_of_one_device(eight_devices, tmp_path / "whole", __name__)
  good, bad, last = tuned.task.classify(*given, ["Suomi", "\udce4", "Suomi"])
  assert good == last == found[0]
  assert isinstance(bad, Unreadable) and "invalid UTF-8" in bad.reason


def test_masks_follow_the_paper_and_the_key_alone():
  rng = np.random.default_rng(0)
  vocabulary, n = 50, 200
  rows = [[[BOS, *rng.integers(4, vocabulary, n), EOS]] for _ in range(150)]
  batch = tokens(rows, n + 9)
  read, wanted = (
    jax.tree.map(np.asarray, one)
    for one in mask(batch, jax.random.key(3), 0.15, vocabulary)
  )
  np.testing.assert_array_equal(wanted.id_bt, batch.id_bt)
  chosen = wanted.seg_bt != 0
  words = (batch.seg_bt != 0) & (batch.id_bt >= 4)
  assert not np.any(chosen & ~words)
  np.testing.assert_array_equal(read.id_bt[~chosen], batch.id_bt[~chosen])
  assert chosen[words].mean() == pytest.approx(0.15, abs=0.01)
  new, old = read.id_bt[chosen], batch.id_bt[chosen]
  assert np.mean(new == MASK) == pytest.approx(0.8, abs=0.02)
  # One in 46 of the random tokens is the one that was there.
  assert np.mean(new == old) == pytest.approx(0.1 + 0.1 / 46, abs=0.015)
  drawn = new[(new != MASK) & (new != old)]
  assert drawn.min() == 4 and drawn.max() == vocabulary - 1
  again = mask(batch, jax.random.key(3), 0.15, vocabulary)[0]
  other = mask(batch, jax.random.key(4), 0.15, vocabulary)[0]
  np.testing.assert_array_equal(again.id_bt, read.id_bt)
  assert np.any(other.id_bt != read.id_bt)


class Texts:
  def __init__(self, *texts):
    self.texts = texts
    self.lengths_n2 = np.array([[len(text)] for text in texts])

  def __len__(self):
    return len(self.texts)

  def __getitem__(self, i):
    return np.array(self.texts[i])


def test_in_evaluation_a_text_is_masked_by_its_number():
  rng = np.random.default_rng(1)
  texts = Texts(*([BOS, *rng.integers(4, 40, n), EOS] for n in (30, 1, 13, 50)))
  corpus = MaskedTexts(texts, 0.15, 40)
  for i, count in enumerate((4, 1, 2, 8)):
    read, wanted = corpus[i]
    assert np.sum(wanted != PAD) == count
    whole = texts[i]
    np.testing.assert_array_equal(wanted[wanted != PAD], whole[wanted != PAD])
    np.testing.assert_array_equal(read[wanted == PAD], whole[wanted == PAD])
    np.testing.assert_array_equal(read, corpus[i][0])
  empty = MaskedTexts(Texts([BOS, EOS]), 0.15, 40)[0]
  np.testing.assert_array_equal(empty, [[BOS, EOS], [PAD, PAD]])


def test_the_unigram_baseline_is_counted_by_hand():
  train, held_out = Texts([BOS, 4, 4, 5, EOS], [BOS, 4, EOS]), Texts([BOS, 4, EOS])
  loss, accuracy = unigram_scores(train, MaskedTexts(held_out, 0.15, 8), 8)
  # Seen 3, 1, 0, 0 of the pieces 4 to 7, and one more of each.
  assert loss == pytest.approx(-np.log(4 / 8)) and accuracy == 1.0
  other = MaskedTexts(Texts([BOS, 6, EOS]), 0.15, 8)
  assert unigram_scores(train, other, 8) == (pytest.approx(-np.log(1 / 8)), 0.0)


def test_classes_lie_at_first_tokens_alone():
  texts = Texts([BOS, 7, 8, EOS], [BOS, 9, EOS], [BOS, 5, EOS])
  corpus = LabelledTexts(texts, np.array([2, 0, 1]))
  plan = Packed(tokens=24, length=12).plan(corpus.lengths_n2[[0, 1, 2] * 3], 0)
  rows = np.array([[0, 2], [1, -1]])
  batch = corpus.batch(plan.batch(0)[0]._replace(rows=2), rows)
  expected = np.full((2, 12), -1)
  expected[0, 0], expected[0, 4], expected[1, 0] = 2, 1, 0
  np.testing.assert_array_equal(batch.class_bt, expected)
  with pytest.raises(ValueError, match="labels: expected 3, got 2"):
    LabelledTexts(texts, np.array([0, 1]))


def test_a_mask_is_one_piece_with_the_space_before_it(run):
  tokenizer = Run.open(run).tokenizer

  def pieces(text):
    return tokenizer.pieces(encode_masked(tokenizer, text)[:-1])

  mask = tokenizer.pieces([MASK])
  plain = tokenizer.pieces(tokenizer.encode(["the cat"])[0][:-1])
  assert pieces("the cat [MASK]") == [*plain, *mask]
  assert pieces("the cat[MASK]") == [*plain, *mask]
  assert pieces("[MASK] the cat") == [*mask, *plain]
  assert pieces("[MASK][MASK]") == [*mask, *mask]
  assert encode_masked(tokenizer, "[MASK]")[-1] == EOS


TEXTS = ["the [MASK] sat", "[MASK]", "two dogs [MASK] after a [MASK] and saw a mat"]


def test_fillings_are_the_same_in_every_batch_and_are_probabilities(run):
  filler = Filler.open(run)
  together = filler.fill(TEXTS, top=300)
  assert [len(found.masks) for found in together] == [1, 1, 2]
  for text, found in zip(TEXTS, together, strict=True):
    assert filler.fill([text], top=300) == [found]
    for candidates in found.masks:
      shares = [one.probability for one in candidates]
      assert shares == sorted(shares, reverse=True)
      assert sum(shares) == pytest.approx(1.0, abs=1e-4)
    assert "[MASK]" not in found.text


def test_the_verb_prints_texts_and_pieces(run, capsys, tmp_path):
  status, out, _ = call(capsys, "fill", run, *TEXTS, "--top", 2)
  assert status == 0
  lines = out.splitlines()
  assert len(lines) == 3 + 2 * 4
  number, share, piece = lines[1].split("\t")
  assert number == "1" and 0 < float(share) < 1 and piece
  (tmp_path / "in").write_text("".join(f"{text}\n" for text in TEXTS))
  files = "--input", tmp_path / "in", "--output", tmp_path / "out"
  assert call(capsys, "fill", run, *files, "--top", 2)[0] == 0
  assert (tmp_path / "out").read_text() == out
  records = [
    json.loads(line)
    for line in call(capsys, "fill", run, *TEXTS, "--json")[1].splitlines()
  ]
  assert [len(record["masks"]) for record in records] == [1, 1, 2]
  assert [record["source"] for record in records] == TEXTS
  assert records[0]["text"] == lines[0]
  assert records[0]["masks"][0][0]["piece"] == piece


def test_one_bad_text_does_not_cost_the_others(run, capsys, tmp_path):
  (tmp_path / "in").write_bytes(
    b"a [MASK]\nthe cat\n\n\xe4 [MASK]\n\xe2\x80\x8b\n[MASK]"
  )
  status, out, err = call(capsys, "fill", run, "--input", tmp_path / "in", "--top", 1)
  assert status == 1
  texts = out.split("\n")[:-1]
  good = call(capsys, "fill", run, "a [MASK]", "", "", "[MASK]", "--top", 1)
  assert good[0] == 0 and good[1].split("\n")[:-1] == texts and texts[2:4] == ["", ""]
  errors = err.splitlines()
  assert len(errors) == 2
  assert errors[0].startswith("error: text 2: 'the cat': nothing to fill in")
  assert f"error: text 4: {tmp_path}/in: line 4: invalid UTF-8" in errors[1]


@pytest.mark.parametrize(
  "words, message",
  [
    (["the cat"], "nothing to fill in; write [MASK]"),
    (["[MASK] " * 40], "expected at most 24 tokens"),
    (["[MASK]", "--top", "0"], "--top: expected 1 or more, got 0"),
    (["[MASK]", "--input", "x"], "give texts or --input, not both"),
  ],
)
def test_bad_words_get_one_line(run, capsys, words, message):
  status, out, err = call(capsys, "fill", run, *words)
  assert status == 1 and out == ""
  assert message in err and err.count("\n") == 1


def test_other_tasks_and_settings_that_do_not_fit_get_one_line(
  run, config, tmp_path, capsys
):
  status, _, err = call(capsys, "generate", run, "the cat")
  assert status == 1 and f"transformer fill {run}" in err
  tuned = fine(config, run)
  changes = (
    (dict(tokenizer=SentencePiece(byte_fallback=False)), config, "byte_fallback"),
    (dict(data=Dates()), config, "expected texts, got Dates"),
    (dict(data=config.data, init=""), tuned, "PlainText has no labels"),
    (dict(model=small(BertClassifier)), tuned, "classes: 7, but the task has 2 labels"),
    (dict(data=DisplayNames(), init=""), tuned, r"labels: \('de', 'fi'\), but Display"),
    (dict(model=small(Bert)), tuned, "Bert takes Tokens, but the task Text"),
  )
  for change, base, message in changes:
    with pytest.raises(ValueError, match=message) as error:
      trainer.train(dataclasses.replace(base, **change), tmp_path / "run")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_display_names_are_apart_and_have_one_label():
  data = DisplayNames(examples=300, held_out=50)
  assert len(data.classes) >= 25 and set(LOCALES) == set(known())
  owners = {}
  for locale, parts in known().items():
    names = {split: set(parts[split]) for split in parts}
    assert all(len(part) > 20 for part in names.values())
    assert not names["train"] & names["val"] | names["val"] & names["test"]
    assert not names["train"] & names["test"]
    for name in set.union(*names.values()):
      assert owners.setdefault(name, locale) == locale
  texts, labels = data.open("train"), data.labels("train")
  assert len(texts) == len(labels) == 300 and len(set(labels)) == len(LOCALES)
  for text, label in zip(texts, labels, strict=True):
    assert any(text.startswith(name) for name in known()[LOCALES[label]]["train"])
  assert max(text.count(", ") for text in texts) >= 7
  assert texts[7] == data.open("train")[7] != data.open("val")[7]
  prints = {data.fingerprint(split) for split in ("train", "val", "test")}
  assert len(prints) == 3


def test_eight_devices_score_masked_texts_as_one_does(run, eight_devices):
  assert_scores_of_one_device(eight_devices, run)
