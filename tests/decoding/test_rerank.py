"""Choosing among finished texts."""

import numpy as np
import pytest
import sacrebleu

from transformer.decoding.rerank import distinct, mbr

TEXTS = [
  "a dog runs over the field",
  "the dog is running across a field",
  "a dog runs across the field",
  "two men sit on a bench",
  "a dog runs over the field",
  "a brown dog runs across the green field",
  "",
]


def test_mbr_is_the_mean_chrf_over_the_others():
  for size in range(2, len(TEXTS) + 1):
    for turn in range(len(TEXTS)):
      texts = (TEXTS[turn:] + TEXTS[:turn])[:size]
      means = [
        np.mean([
          sacrebleu.sentence_chrf(text, [other]).score
          for j, other in enumerate(texts)
          if j != i
        ])
        for i, text in enumerate(texts)
      ]  # fmt: skip
      assert mbr(texts) == int(np.argmax(np.round(means, 9)))


def test_mbr_of_few():
  assert mbr(["one"]) == mbr(["one", "one"]) == 0
  with pytest.raises(ValueError, match="candidates: expected 1 or more, got none"):
    mbr([])


def test_distinct_leaves_out_near_duplicates():
  texts = [
    "A dog, running.",
    "a dog running",
    "A cat, running.",
    "A  dog\u00a0running!",
    "a ｄｏｇ running",
    "a dogrunning",
    "A dog runs.",
  ]
  assert distinct(texts, 9) == [0, 2, 5, 6]
  assert distinct(texts, 2) == [0, 2]
  assert distinct(texts[:2], 2) == [0]
  assert distinct(texts, 0) == distinct([], 3) == []


def test_distinct_keeps_what_differs_in_meaning():
  texts = ["3.5 m", "35 m", "?", "!", "", "+5", "5", "नमस्ते", "नमस्त"]
  assert distinct(texts, 9) == list(range(9))
