"""What programs see: n-best, scores, limits, samples, streams, given translations."""

import dataclasses

import numpy as np
import pytest

from tests.runs.random_run import random_run
from tests.tiny import TINY
from transformer.batch import EOS, UNK
from transformer.decoding.penalty import GNMT, Average, Coverage, LengthPenalty
from transformer.decoding.rerank import distinct, mbr
from transformer.decoding.samplers import Temperature, TopK
from transformer.inference.score import score_targets
from transformer.inference.search import Search, Searcher
from transformer.runs.translator import Translator

SHORT = Search(beam=4, extra=5)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
  """Opens one random run with any search."""
  run = random_run(tmp_path_factory.mktemp("translator") / "run")
  params = run.params()

  def translator(search=SHORT, tokens=4096, **changes):
    search = dataclasses.replace(search, **changes)
    return Translator(run, Searcher(run.module(), params, search, tokens))

  return translator


@pytest.fixture(scope="module")
def lines(opened):
  """Five texts of one declared length, so that little is compiled."""
  data = TINY.data.open("test")
  found = [data[i].source for i in range(len(data))]
  sizes = [len(ids) for ids in opened().run.tokenizer.encode(found)]
  same = [text for text, n in zip(found, sizes, strict=True) if 9 <= n <= 16]
  assert len(set(same[:5])) == 5
  return same[:5]


def test_the_best_of_many_is_the_best_of_one(opened, lines):
  lines = [lines[0], "", *lines[1:]]
  found = opened(n_best=3).hypotheses(lines)
  assert found[1] == [] and all(1 <= len(each) <= 3 for each in found[:1] + found[2:])
  assert sum(map(len, found)) > 5
  assert opened().translate(lines) == [each[0].text if each else "" for each in found]
  for each in found:
    scores = [hypothesis.score for hypothesis in each]
    assert scores == sorted(scores, reverse=True)
    assert len(distinct([hypothesis.text for hypothesis in each], 3)) == len(each)


@pytest.mark.parametrize("penalty", [GNMT(0.6), Average(), LengthPenalty()])
def test_a_score_is_the_log_probability_under_the_penalty(opened, lines, penalty):
  beam = 4 if penalty == GNMT(0.6) else 1
  for found, *_ in opened(beam=beam, penalty=penalty).hypotheses(lines):
    n = len(found.tokens)
    assert n == len(found.token_logprobs) and found.tokens[-1] == "</s>"
    assert found.logprob == pytest.approx(sum(found.token_logprobs), rel=1e-5)
    divisor = {GNMT: ((5 + n) / 6) ** 0.6, Average: n, LengthPenalty: 1}
    wanted = found.logprob / divisor[type(penalty)]
    assert found.score == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("penalty", [GNMT(), Coverage(beta=0.5)])
def test_what_a_search_says_of_its_output_is_what_scoring_says(opened, lines, penalty):
  translator = opened(penalty=penalty)
  sources = translator.run.tokenizer.encode(lines)
  found = dict(translator.searcher.search_all(sources))
  pairs = [(i, w) for i in found for w, n in enumerate(found[i].length_bw) if n]
  assert len(pairs) > 10
  targets = [found[i].token_bwt[w, : found[i].length_bw[w]] for i, w in pairs]
  scored = score_targets(translator.searcher, [sources[i] for i, _ in pairs], targets)
  for place, token_logprob_t, score in scored:
    i, w = pairs[place]
    wanted_t = found[i].token_logprob_bwt[w, : len(targets[place])]
    np.testing.assert_allclose(token_logprob_t, wanted_t, atol=1e-4)
    np.testing.assert_allclose(score, found[i].score_bw[w], atol=1e-4)


def test_a_translation_scores_the_same_whatever_the_others(opened, lines):
  given = ["2001-05-12", "", "x", "19", "1899-12-31 und so weiter"]
  together = opened(penalty=Average()).score(lines, given)
  for i in (1, 4):
    (alone,) = opened(penalty=Average()).score([lines[i]], [given[i]])
    np.testing.assert_allclose(
      alone.token_logprobs, together[i].token_logprobs, rtol=1e-5
    )
  assert [each.text for each in together] == given
  assert together[1].tokens == ("</s>",)
  small = opened(penalty=Average(), tokens=16).score(lines, given)
  np.testing.assert_allclose(
    [each.score for each in small], [each.score for each in together], rtol=1e-5
  )
  with pytest.raises(ValueError, match="translations: expected 5, got 4"):
    opened().score(lines, given[:4])


def test_limits_hold_for_every_output(opened, lines):
  free = [len(found[0].tokens) for found in opened().hypotheses(lines)]
  assert min(free) < 5 and max(free) > 7
  found = opened(min_length=4, max_length=6).hypotheses(lines)
  assert all(5 <= len(each[0].tokens) <= 7 for each in found)


def test_a_suppressed_piece_never_comes(opened, lines):
  found = opened().hypotheses(lines)
  first = next(each[0].tokens[0] for each in found if len(each[0].tokens) > 1)
  banned = opened().run.tokenizer.id(first)
  found = opened(suppressed=(banned, UNK)).hypotheses(lines)
  assert all(first not in hypothesis.tokens for each in found for hypothesis in each)
  with pytest.raises(ValueError, match="no piece of the vocabulary"):
    opened().run.tokenizer.id("no such piece")


def test_every_text_has_its_own_prefix(opened, lines):
  prefixes = ["2001", "", "19 May 1999", "", ""]
  translator = opened()
  found = translator.hypotheses(lines, prefixes=prefixes)
  for each, prefix in zip(found, prefixes, strict=True):
    ids = translator.run.tokenizer.encode([prefix])[0][:-1]
    pieces = tuple(translator.run.tokenizer.pieces(ids))
    assert each[0].tokens[: len(pieces)] == pieces
    assert len(each[0].tokens) > len(pieces)
  (alone,) = translator.hypotheses(lines[:1], prefixes=prefixes[:1])
  assert alone[0].text == found[0][0].text
  assert translator.translate(lines)[1] == found[1][0].text
  with pytest.raises(ValueError, match="prefixes: expected 5, got 2"):
    translator.hypotheses(lines, prefixes=prefixes[:2])


def test_what_is_drawn_follows_from_text_and_seed_alone(opened, lines):
  draw = {"beam": 1, "n_best": 3, "sampler": Temperature(1.5)}

  def drawn(lines, tokens=4096, seed=7):
    found = opened(tokens=tokens, **draw).hypotheses(lines, seed=seed)
    return [[hypothesis.text for hypothesis in each] for each in found]

  together = drawn(lines)
  assert all(len(each) == 3 for each in together)
  assert len({text for each in together for text in each}) > 8
  assert drawn(lines[::-1])[::-1] == together == drawn(lines, tokens=8)
  assert drawn(lines[3:4]) == together[3:4]
  assert drawn([lines[0], lines[0]]) == [together[0]] * 2
  assert drawn(lines, seed=8) != together


def test_the_choice_by_mbr_is_the_candidate_most_like_the_others(opened, lines):
  draw = opened(beam=1, n_best=6, sampler=TopK(4))
  found = draw.hypotheses(lines, seed=3)
  candidates = [[hypothesis.text for hypothesis in each] for each in found]
  wanted = [each[mbr(each)] for each in candidates]
  assert draw.translate(lines, seed=3, by_mbr=True) == wanted
  assert wanted != [each[0] for each in candidates]


@pytest.mark.parametrize("sampler", [{}, {"sampler": Temperature(1.0)}])
def test_a_stream_is_the_translation_piece_by_piece(opened, lines, sampler):
  translator = opened(beam=1, min_length=4, **sampler)
  lines, prefixes = ["", *lines[1:]], ["", "", "2001-", "", "1"]
  whole = translator.translate(lines, prefixes=prefixes, seed=5)
  several = 0
  for line, prefix, text in zip(lines, prefixes, whole, strict=True):
    pieces = list(translator.stream(line, prefix, seed=5))
    assert "".join(pieces) == text
    several += len(pieces) > 2
  assert several >= 2
  with pytest.raises(ValueError, match="expected a beam of 1, got 4"):
    list(opened().stream(lines[1]))


@pytest.mark.parametrize(
  "fields, message",
  [
    ({"beam": 2, "sampler": TopK(3)}, "expected a beam of 1 to sample, got 2"),
    ({"n_best": 5}, "n_best: expected at most the beam's 4, got 5"),
    ({"n_best": 0}, "n_best: expected 1 or more, got 0"),
    ({"min_length": -1}, "min_length: expected 0 or more, got -1"),
    ({"min_length": 4, "max_length": 3}, "max_length: expected 4 or more, got 3"),
    ({"suppressed": (EOS,)}, "EOS cannot be suppressed"),
  ],
)
def test_a_search_that_makes_no_sense_is_refused(fields, message):
  with pytest.raises(ValueError, match=message):
    Search(**fields)
