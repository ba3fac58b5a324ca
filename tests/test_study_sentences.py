"""The sentences of the pages about studies: each stands on its page as it is here, and
the stored table of its study, docs/tables/STUDY.csv (a study's table.csv), supports it.
"""

import random
import statistics

import pytest

from tests.study_tables import (
  BLEU,
  CONVOLUTIONAL,
  EXACT,
  LONGER,
  NARROW,
  NORM_ROWS,
  PERPLEXITY,
  PRETRAINED,
  RANDOM,
  README,
  RESNET,
  RNN,
  ROOT,
  SEARCH,
  STUDIES,
  TABLES,
  TRANSFORMER,
  VIT,
  Sentence,
  Table,
  alike,
  blocked,
  change,
  dates,
  exact,
  gain,
  gap,
  lead,
  p,
  points_lost,
  read,
  same_sign,
  supported,
)

SENTENCES = (
  Sentence(
    STUDIES,
    "Of 18 rows whose perplexity in the paper differs from the base's, 12 differ in "
    "the same direction here; of 18 with another BLEU, 12.",
    "table3_small",
    lambda t: (same_sign(t, PERPLEXITY), same_sign(t, BLEU)) == ((18, 12), (18, 12)),
  ),
  Sentence(
    STUDIES,
    "The base has learned its task, 0.930 of the dates exactly",
    "table3_small",
    lambda t: round(t["base"]["dev/exact_match"], 3) == 0.930,
  ),
  Sentence(
    STUDIES,
    "agree with the paper: in perplexity `C: d 256`, `D: dropout 0.0`, `D: "
    "dropout 0.2`, `D: smoothing 0.0`, `D: smoothing 0.2`; in BLEU `C: N 8`, `C: "
    "d 256`, `D: dropout 0.2`, `E: learned positions`.",
    "table3_small",
    lambda t: (
      supported(t, PERPLEXITY, True)
      == [
        "C: d 256",
        "D: dropout 0.0",
        "D: dropout 0.2",
        "D: smoothing 0.0",
        "D: smoothing 0.2",
      ]
      and supported(t, BLEU, True)
      == ["C: N 8", "C: d 256", "D: dropout 0.2", "E: learned positions"]
    ),
  ),
  Sentence(
    STUDIES,
    "Against it: in perplexity `C: N 2`, `C: N 8`, `big`; in BLEU `D: dropout "
    "0.0`, `big`.",
    "table3_small",
    lambda t: (
      supported(t, PERPLEXITY, False) == ["C: N 2", "C: N 8", "big"]
      and supported(t, BLEU, False) == ["D: dropout 0.0", "big"]
    ),
  ),
  Sentence(
    STUDIES,
    "The recurrent network with attention is 23 BLEU ahead of the one without; the "
    "choice of architecture around attention makes a difference of 4.",
    "multi30k",
    lambda t: (
      round(t[SEARCH]["test/bleu"] - t[RNN]["test/bleu"]) == 23
      and round(
        t[SEARCH]["test/bleu"]
        - min(t[row]["test/bleu"] for row in (TRANSFORMER, CONVOLUTIONAL))
      )
      == 4
    ),
  ),
  Sentence(
    STUDIES,
    "At this budget the Transformer is behind both others with attention",
    "multi30k",
    lambda t: all(
      t[row]["test/bleu"] > t[TRANSFORMER]["test/bleu"] and t[row]["p"] < 0.05
      for row in (SEARCH, CONVOLUTIONAL)
    ),
  ),
  Sentence(
    README,
    "BLEU of Transformer, RNN, RNN with attention, convolutions: 29.1, 10.0, 33.2, "
    "31.7",
    "multi30k",
    lambda t: (
      [
        round(t[row]["test/bleu"], 1)
        for row in (TRANSFORMER, RNN, SEARCH, CONVOLUTIONAL)
      ]
      == [29.1, 10.0, 33.2, 31.7]
    ),
  ),
  Sentence(
    STUDIES,
    "The convolutional network takes about as much processor time as the Transformer; "
    "the recurrent one takes a third more.",
    "multi30k",
    lambda t: (
      0.9
      < t[CONVOLUTIONAL]["processor_seconds"] / t[TRANSFORMER]["processor_seconds"]
      < 1.1
      and 1.25
      < t[SEARCH]["processor_seconds"] / t[TRANSFORMER]["processor_seconds"]
      < 1.4
    ),
  ),
  Sentence(
    STUDIES,
    "With attention the recurrent network reads three dates as well as one; without "
    "it, with as many parameters and tokens, hardly one",
    "families",
    lambda t: (
      dates(t, SEARCH, 3) > dates(t, SEARCH, 1) - 0.005 and dates(t, RNN, 1) < 0.05
    ),
  ),
  Sentence(
    STUDIES,
    "The Transformer is behind both others with attention at this budget, tuned or not",
    "families",
    lambda t: all(
      dates(t, TRANSFORMER, n) < min(dates(t, SEARCH, n), dates(t, CONVOLUTIONAL, n))
      for n in (1, 2, 3)
    ),
  ),
  Sentence(
    README,
    "the models with attention read most single dates and the RNN without it hardly "
    "any",
    "families",
    lambda t: (
      min(dates(t, row, 1) for row in (TRANSFORMER, SEARCH, CONVOLUTIONAL)) > 0.5
      and dates(t, RNN, 1) < 0.05
    ),
  ),
  Sentence(
    README,
    "Exact match: the RNN with attention stays at 1.0, convolutions fall to 0.96, the "
    "Transformer from 0.90 to 0.17; the RNN without attention stays near 0.",
    "families",
    lambda t: (
      all(round(dates(t, SEARCH, n), 2) == 1.0 for n in (1, 2, 3))
      and round(dates(t, CONVOLUTIONAL, 3), 2) == 0.96
      and [round(dates(t, TRANSFORMER, n), 2) for n in (1, 3)] == [0.90, 0.17]
      and max(dates(t, RNN, n) for n in (1, 2, 3)) < 0.05
    ),
  ),
  Sentence(
    STUDIES,
    "In the same time the convolutional network sees twice as many tokens as the "
    "Transformer and the recurrent one a quarter fewer; both read three dates, the "
    "Transformer hardly any.",
    "families_seconds",
    lambda t: (
      round(t[CONVOLUTIONAL]["target_tokens"] / t[TRANSFORMER]["target_tokens"]) == 2
      and 0.7 < t[SEARCH]["target_tokens"] / t[TRANSFORMER]["target_tokens"] < 0.8
      and min(dates(t, row, 3) for row in (SEARCH, CONVOLUTIONAL)) > 0.95
      and dates(t, TRANSFORMER, 3) < 0.05
      and max(row["processor_seconds"] for row in t.values())
      < 1.15 * min(row["processor_seconds"] for row in t.values())
    ),
  ),
  Sentence(
    STUDIES,
    "tuning took it from 0.839 to 0.897 on one date",
    "families",
    lambda t: round(dates(t, TRANSFORMER, 1), 3) == 0.897,
  ),
  Sentence(
    STUDIES,
    "for small d_k additive attention and the plain dot product are alike, within a "
    "deviation at 4 channels; for larger ones additive attention stays where it was "
    "and the plain dot product fails, reading hardly a date at 128 channels",
    "scores",
    lambda t: (
      alike(t, "additive 4", "dot 4")
      and exact(t, "additive 128") > 0.95
      and exact(t, "dot 128") < 0.05
    ),
  ),
  Sentence(
    STUDIES,
    "Divided by sqrt(d_k) it reads dates at every width.",
    "scores",
    lambda t: min(exact(t, f"scaled {n}") for n in (4, 32, 128, 256)) > 0.98,
  ),
  Sentence(
    STUDIES,
    "After 400 updates the gradient is below 0.001 at half of the queries with 32 "
    "channels and at four of five with 256, as the paper suspects of large d_k, and "
    "after 1,600 at more of them.",
    "softmax_gradient",
    lambda t: (
      round(blocked(t, "dot-32", 400), 1) == 0.5
      and round(blocked(t, "dot-256", 400), 1) == 0.8
      and all(
        blocked(t, f"dot-{n}", 1600) > blocked(t, f"dot-{n}", 400) for n in (32, 256)
      )
    ),
  ),
  Sentence(
    STUDIES,
    "With warm-up the place of the norm makes no difference, nor does its kind: all "
    "six are within a deviation or two of 0.95.",
    "norms",
    lambda t: all(
      abs(exact(t, row) - 0.95) <= 2 * t[row][f"{EXACT} deviation"] for row in NORM_ROWS
    ),
  ),
  Sentence(
    STUDIES,
    "Without warm-up the layer norm after the sublayer loses 4 points (p 0.03 over "
    "seeds) and before it nothing",
    "norms",
    lambda t: (
      points_lost(t, "layer after", ", no warm-up") == 4
      and round(t["layer after, no warm-up"][f"{EXACT} p of seeds"], 2) == 0.03
      and points_lost(t, "layer before", ", no warm-up") == 0
    ),
  ),
  Sentence(
    STUDIES,
    "RMS and batch norm lose 4 points at most, which three seeds cannot tell from "
    "chance (p 0.14 or more)",
    "norms",
    lambda t: (
      max(points_lost(t, row, ", no warm-up") for row in NORM_ROWS[2:]) == 4
      and min(p(t, EXACT, row, f"{row}, no warm-up") for row in NORM_ROWS[2:]) > 0.14
    ),
  ),
  Sentence(
    STUDIES,
    "In batches of 128 padded tokens, which see a quarter of the tokens, batch norm "
    "does not lose more than layer norm.",
    "norms",
    lambda t: all(
      points_lost(t, f"batch {place}", ", 128 tokens")
      < points_lost(t, f"layer {place}", ", 128 tokens")
      for place in ("after", "before")
    ),
  ),
  Sentence(
    STUDIES,
    "faster when queries, keys and values are drawn narrowly: 0.869 against 0.778, and "
    "every one of its five seeds is better than every seed of the other two",
    "post_norm",
    lambda t: (
      (round(exact(t, NARROW), 3), round(exact(t, "before, cosine"), 3))
      == (0.869, 0.778)
      and min(t[NARROW][f"{EXACT} seed {n}"] for n in range(5))
      > max(
        t[f"{row}, cosine"][f"{EXACT} seed {n}"]
        for row in ("after", "before")
        for n in range(5)
      )
    ),
  ),
  Sentence(
    STUDIES,
    "The gap falls from 20 points to 8",
    "data_size",
    lambda t: (gap(t, 78), gap(t, 1245)) == (20, 8),
  ),
  Sentence(
    STUDIES,
    "With 78 images the Vision Transformer gains 6 points, 7 if it is pre-trained "
    "three times as long, and the residual network 4",
    "pretraining",
    lambda t: (
      (gain(t, VIT, 78), gain(t, VIT, 78, LONGER), gain(t, RESNET, 78)) == (6, 7, 4)
    ),
  ),
  Sentence(
    STUDIES,
    "With 311 and with 1,245 images the Vision Transformer gains nothing, however long "
    "it was pre-trained, and the residual network 4 points (p 0.005) and 2 (p 0.06).",
    "pretraining",
    lambda t: (
      [gain(t, VIT, n, s) for n in (311, 1245) for s in (PRETRAINED, LONGER)]
      == [0, 0, 0, 0]
      and [gain(t, RESNET, n) for n in (311, 1245)] == [4, 2]
      and [
        round(
          p(t, "test/accuracy", *(f"{RESNET}, {s} {n}" for s in (RANDOM, PRETRAINED))),
          3,
        )
        for n in (311, 1245)
      ]
      == [0.005, 0.065]
    ),
  ),
  Sentence(
    STUDIES,
    "ahead of it by 15, 8 and 7 points without pre-training, and by 11, 12 and 8 with "
    "it",
    "pretraining",
    lambda t: (
      [lead(t, n, RANDOM, RANDOM) for n in (78, 311, 1245)] == [15, 8, 7]
      and [lead(t, n, LONGER, PRETRAINED) for n in (78, 311, 1245)] == [11, 12, 8]
    ),
  ),
  Sentence(
    STUDIES,
    "distances (Shaw, Transformer-XL, RoPE) read two dates better than sinusoids do, "
    "by 3 to 4 points",
    "positions",
    lambda t: all(
      3 <= round(100 * (dates(t, row, 2) - dates(t, "sinusoid", 2))) <= 4
      for row in ("Shaw", "Transformer-XL", "RoPE")
    ),
  ),
  Sentence(
    STUDIES,
    "have not been learned after 1,800 updates; the same vectors begun as sinusoids "
    "have (0.969)",
    "positions",
    lambda t: (
      max(dates(t, "learned", 2), dates(t, "axial", 2)) < 0.05
      and round(dates(t, "learned from sinusoid", 2), 3) == 0.969
    ),
  ),
  Sentence(
    STUDIES,
    "Beyond them no scheme reads a text",
    "positions",
    lambda t: (
      max(dates(t, row, n) for row in t for n in (3, 4)) == 0
      and dates(t, "sinusoid", 2) > 0.95
    ),
  ),
  Sentence(
    STUDIES,
    "Twice the memory of training is better than that of training in every seed, by "
    "0.034 ± 0.014, which is 0.4%; four times as much is worse than that in every seed",
    "by_memory",
    lambda t: (
      all(change(t, seed, 128) < min(0, change(t, seed, 256)) for seed in range(3))
      and round(statistics.fmean(change(t, n, 128) for n in range(3)), 3) == -0.034
      and round(statistics.stdev(change(t, n, 128) for n in range(3)), 3) == 0.014
    ),
  ),
)


@pytest.mark.parametrize("sentence", SENTENCES, ids=lambda each: each.text[:40])
def test_a_sentence_is_on_its_page_and_its_table_supports_it(sentence):
  page = (ROOT / sentence.page).read_text(encoding="utf-8")
  assert sentence.text in " ".join(page.split())
  assert sentence.holds(read(sentence.table))


def test_every_stored_table_supports_a_sentence():
  stored = {path.stem for path in TABLES.glob("*.csv")}
  assert stored == {sentence.table for sentence in SENTENCES}


@pytest.mark.parametrize("sentence", SENTENCES, ids=lambda each: each.text[:40])
def test_a_sentence_can_be_contradicted(sentence):
  """By tables whose rows have each other's numbers, half of them halved."""
  table, draw = read(sentence.table), random.Random(0)

  def other() -> Table:
    rows = draw.sample(list(table.values()), len(table))
    factors = [draw.choice((0.5, 1.0)) for _ in rows]
    return {
      name: {column: factor * value for column, value in row.items()}
      for name, row, factor in zip(table, rows, factors, strict=True)
    }

  def holds(made: Table) -> bool:
    try:
      return sentence.holds(made)
    except KeyError:  # p, which the first row has not
      return False

  assert not all(holds(other()) for _ in range(20))
