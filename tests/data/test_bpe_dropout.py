"""BPE-dropout: what it gives is a function of text, rate and seed, and decodes to the
text; training alone divides at random."""

import collections

import numpy as np
import pytest

from transformer.data.batching import Packed
from transformer.data.corpus import Corpus
from transformer.data.pipeline import all_rows
from transformer.data.sources.dates import Dates
from transformer.data.tokenizers.sentence_piece import SentencePiece
from transformer.tasks.translation import Translation

TEXTS = ["a small dog runs", "the dog sees a smaller dog", "running dogs", "", "é – 漢"]
LINES = [f"{who} {does}" for who in ("the dog", "a small cat", "dogs") for does in
         ("runs", "sees a cat", "is running", "saw the smaller ones")]  # fmt: skip


@pytest.fixture(scope="module")
def model() -> bytes:
  return SentencePiece(vocabulary=310).train(LINES * 5)


def divided(model, rate, copies=1, seed=0):
  tokenizer = SentencePiece(vocabulary=310, bpe_dropout=rate, copies=copies).open(model)
  return tokenizer.training_copies(seed)


def test_without_dropout_merges_are_those_of_sentencepiece(model):
  (divided_text,) = divided(model, 1e-12)
  expected_ids = SentencePiece(vocabulary=310).open(model).encode(TEXTS + LINES)
  for ids, expected in zip(
    divided_text.encode(TEXTS + LINES), expected_ids, strict=True
  ):
    np.testing.assert_array_equal(ids, expected)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.99])
def test_what_is_divided_at_random_decodes_to_the_text(model, rate):
  (tokenizer,) = divided(model, rate)
  assert tokenizer.decode(tokenizer.encode(TEXTS)) == TEXTS


def test_the_division_is_that_of_text_rate_and_seed(model):
  """What it was in another process is written down here."""
  (tokenizer,) = divided(model, 0.5)
  first = tokenizer.pieces(tokenizer.encode(["the smaller dog"])[0])
  assert first == ["▁t", "he", "▁sm", "all", "er", "▁", "do", "g", "</s>"]
  again = divided(model, 0.5)[0].encode(["a cat", "the smaller dog"])[1]
  assert tokenizer.pieces(again) == first
  other = divided(model, 0.5, seed=1)[0].encode(["the smaller dog"])[0]
  assert tokenizer.pieces(other) != first


def test_a_possible_merge_is_left_out_as_often_as_the_rate_says(model):
  """A word of two characters has one merge."""
  plain = SentencePiece(vocabulary=310).open(model)
  assert len(plain.encode(["a"])[0]) == 2
  rate, n = 0.3, 400
  counts = collections.Counter(
    len(copy.encode(["a"])[0]) for copy in divided(model, rate, copies=n)
  )
  assert set(counts) == {2, 3}
  assert abs(counts[3] / n - rate) < 4 * (rate * (1 - rate) / n) ** 0.5


def test_training_goes_through_all_copies_and_inference_has_none(tmp_path):
  data, recipe = Dates(examples=40, held_out=5), SentencePiece(400, bpe_dropout=0.3)
  task = Translation()
  model = task.make_vocabulary(data, recipe)
  tokenizer = recipe.open(model)
  plain = SentencePiece(400).open(model)
  for ids, expected in zip(tokenizer.encode(LINES), plain.encode(LINES), strict=True):
    np.testing.assert_array_equal(ids, expected)
  training = task.training_data(data, tokenizer, Packed(512, 64), 0, tmp_path)
  steps = training.steps_per_epoch
  seen = collections.Counter(int(i) for k in range(steps) for i in training.examples(k))
  assert set(seen) == set(range(16 * 40))
  assert set(seen.values()) == {1}
  texts = collections.Counter()
  for _, batch in training.batches(0, steps, all_rows):
    target = batch.target
    for row, segments in zip(target.id_bt, target.seg_bt, strict=True):
      for segment in range(1, segments.max() + 1):
        texts.update(plain.decode([row[segments == segment]]))
  pairs = data.open("train")
  assert texts == collections.Counter(p.target for p in pairs for _ in range(16))
  assert "40 training pairs, divided at random 16 times" in " ".join(training.notes)


def test_joined_corpora_hold_the_examples_of_each(model, tmp_path):
  data = Dates(examples=10, held_out=5)
  parts = [
    Corpus.build(data, "train", copy, tmp_path, progress=False)
    for copy in divided(model, 0.3, copies=3)
  ]
  joined = Corpus.joined(parts)
  assert len(joined) == 30
  for n in range(30):
    for ids, expected in zip(joined[n], parts[n // 10][n % 10], strict=True):
      np.testing.assert_array_equal(ids, expected)
  np.testing.assert_array_equal(
    joined.lengths_n2, np.concatenate([part.lengths_n2 for part in parts])
  )


@pytest.mark.parametrize(
  "settings, message",
  [
    ({"bpe_dropout": 1.0}, "tokenizer.bpe_dropout: expected 0 or more and less than 1"),
    ({"bpe_dropout": float("nan")}, "tokenizer.bpe_dropout: expected 0 or more"),
    ({"bpe_dropout": 0.1, "model": "unigram"}, "a unigram model has no merges"),
    ({"copies": 0}, "tokenizer.copies: expected 1 or more, got 0"),
  ],
)
def test_settings_that_cannot_be(settings, message):
  with pytest.raises(ValueError, match=message):
    SentencePiece(**settings)
