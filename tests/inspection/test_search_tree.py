"""The tree of a beam search is the search that translates."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from tests.runs.random_run import random_run
from transformer import cli
from transformer import config as configs
from transformer.decoding.penalty import GNMT, Coverage, LengthPenalty
from transformer.inference.search import Search
from transformer.inspection.search_tree import beam_of
from transformer.inspection.search_tree_page import as_json, page
from transformer.runs.run import Run
from transformer.runs.translator import Translator

TEXTS = ("8 October 1915", "Friday </script><b>8</b>")
SEARCHES = (
  Search(beam=3, extra=6),
  Search(beam=2, extra=6, penalty=Coverage()),
  Search(beam=3, extra=6, n_best=3, penalty=LengthPenalty()),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  return random_run(tmp_path_factory.mktemp("random") / "run")


@pytest.fixture(scope="module")
def found(run):
  return beam_of(Translator.open(run.path, SEARCHES[0]), TEXTS[1])


def test_a_run_whose_own_search_is_greedy_needs_a_beam(run, tmp_path, capsys):
  copy = shutil.copytree(run.path, tmp_path / "copy")
  task = dataclasses.replace(run.config.task, decoding=Search(beam=1, extra=6))
  config = dataclasses.replace(run.config, task=task)
  (copy / "config.json").write_text(configs.dumps(config))
  words = ["beam", str(copy), TEXTS[0], "--output", str(tmp_path / "x.json")]
  assert cli.main(words) == 1
  assert capsys.readouterr().err == (
    f"error: {copy}: its own search (task.decoding) has a beam of 1, which has no "
    "tree; give --beam 2 or more\n"
  )
  assert cli.main([*words, "--beam", "2"]) == 0


def path(tree, place: int) -> list[int]:
  """The candidates on the way to one, first to last."""
  places = []
  while place >= 0:
    places.insert(0, place)
    place = tree.candidates[place].parent
  return places


@pytest.mark.parametrize("search", SEARCHES, ids=lambda search: str(search.penalty))
def test_outputs_are_those_of_the_translator(run, search):
  translator = Translator.open(run.path, search)
  tree = beam_of(translator, TEXTS[0])
  (wanted,) = translator.searcher.search_all(run.tokenizer.encode([TEXTS[0]]))
  output = wanted[1]
  assert len(tree.outputs) == (output.length_bw > 0).sum()
  for w, each in enumerate(tree.outputs):
    pieces = [tree.candidates[place].piece for place in path(tree, each.candidate)]
    ids = output.token_bwt[w, : output.length_bw[w]]
    assert pieces == run.tokenizer.pieces(ids) and len(pieces) == each.length
    assert each.score == pytest.approx(float(output.score_bw[w]), abs=1e-5)
    assert each.logprob == pytest.approx(float(output.logprob_bw[w]), abs=1e-5)
    combined = each.logprob / each.divisor + each.coverage
    assert each.score == pytest.approx(combined, abs=1e-5)
    assert tree.candidates[each.candidate].output == w
    assert tree.candidates[each.candidate].score == pytest.approx(each.score)
  assert (tree.outputs[0].coverage != 0) == search.penalty.needs_attention
  assert tree.outputs[0].text == translator.translate([TEXTS[0]])[0]


def test_every_candidate_has_its_place(found):
  beam, steps = found.beam, max(each.step for each in found.candidates)
  for step in range(1, steps + 1):
    column = [each for each in found.candidates if each.step == step]
    assert len(column) <= 2 * beam
    assert sum(each.fate == "kept" for each in column) <= beam
    assert sum(each.greedy for each in column) <= 1
  for each in found.candidates:
    parent = found.candidates[each.parent] if each.parent >= 0 else None
    before = parent.logprob if parent else 0.0
    assert each.logprob == pytest.approx(before + each.token_logprob, abs=1e-4)
    assert (each.fate == "finished") == (each.piece == "</s>")
    assert (each.score is not None) == (each.fate == "finished")
    if parent:
      assert parent.fate == "kept" and parent.step == each.step - 1
      among = {other.piece: other.probability for other in parent.alternatives}
      wanted = np.exp(each.token_logprob)
      assert among.get(each.piece, wanted) == pytest.approx(wanted, rel=1e-4)
      assert sorted(among.values(), reverse=True) == list(among.values())
      if each.greedy:
        # At the greatest length, only the end is allowed.
        best = parent.alternatives[0].piece if each.step < steps else "</s>"
        assert parent.greedy and each.piece == best
  if found.bound is not None:
    assert found.outputs[0].score >= found.bound


def test_greedy_goes_where_greedy_search_goes(run):
  """With a limit that both reach only by `EOS`, the greedy path is that of a beam of
  one."""
  for text in TEXTS:
    tree = beam_of(Translator.open(run.path, SEARCHES[0]), text)
    pieces = [each.piece for each in tree.candidates if each.greedy]
    alone = dataclasses.replace(SEARCHES[0], beam=1, n_best=1, penalty=GNMT())
    (hypothesis,) = Translator.open(run.path, alone).hypotheses([text])[0]
    assert pieces == list(hypothesis.tokens[: len(pieces)])
    assert len(pieces) > 1


def test_the_command_writes_a_page_and_json(run, found, tmp_path, capsys):
  for name in ("x.html", "x.json"):
    words = ["beam", run.path, TEXTS[1], "--beam", "3", "--extra", "6", "--output"]
    words = [str(word) for word in (*words, tmp_path / name)]
    assert cli.main(words) == 0, capsys.readouterr().err
  record = json.loads((tmp_path / "x.json").read_text())
  assert record["outputs"][0]["text"] == found.outputs[0].text
  assert len(record["candidates"]) == len(found.candidates)
  assert record == json.loads(as_json(found))
  assert (tmp_path / "x.html").read_text() == page(found)


@pytest.mark.parametrize(
  "words, message",
  [
    (["x", "--beam", "1"], "--beam: expected 2 or more to have a tree, got 1"),
    (["", "--beam", "2"], "is empty"),
    (["x", "--format", "json", "--output", "{tmp}/no/x"], "cannot be written"),
  ],
)
def test_mistakes_get_one_line(run, words, message, tmp_path, capsys, monkeypatch):
  monkeypatch.chdir(tmp_path)
  words = [word.format(tmp=tmp_path) for word in words]
  assert cli.main(["beam", str(run.path), *words]) == 1
  captured = capsys.readouterr()
  assert message in captured.err and captured.err.count("\n") == 1
  assert captured.out == "" and list(tmp_path.iterdir()) == []


def test_other_tasks_have_no_beam(language_run):
  with pytest.raises(ValueError, match="expected the task Translation, got Language"):
    beam_of(Run.open(language_run), "the cat")


def test_the_page_in_a_browser(found, browser, tmp_path):
  file = tmp_path / "page.html"
  file.write_text(page(found), encoding="utf-8")
  browser.view()
  browser.open(file)
  browser.wait()
  boxes = browser.find_all("#boxes button")
  assert len(boxes) == len(found.candidates)
  for box, each in zip(boxes, found.candidates, strict=True):
    names = box.get_attribute("class").split()
    assert each.fate in names and ("greedy" in names) == each.greedy
  winner = path(found, found.outputs[0].candidate)
  marked = browser.run(
    "return [...document.querySelectorAll('#boxes .winner')].map((e) =>"
    " Number(e.dataset.i))"
  )
  assert marked == winner
  scores = [
    float(cell.get_attribute("data-score"))
    for cell in browser.find_all("#outputs td[data-score]")
  ]
  assert scores == pytest.approx([each.score for each in found.outputs], abs=1e-6)

  boxes[winner[0]].click()
  assert browser.find("#one-title").text.startswith("Step 1, rank ")
  shown = browser.find_all("#next td[data-value]")
  values = [float(cell.get_attribute("data-value")) for cell in shown]
  wanted = [each.probability for each in found.candidates[winner[0]].alternatives]
  assert values == pytest.approx(wanted, abs=1e-6)
  other = next(i for i, each in enumerate(found.candidates) if each.fate == "dropped")
  browser.hover(boxes[other])
  assert "dropped: 3 better" in browser.find("#one-facts").text
  browser.hover(browser.find("h1"))
  assert browser.find("#one-title").text.startswith("Step 1, rank ")
  browser.press("ARROW_DOWN")
  focused = browser.driver.switch_to.active_element.get_attribute("data-i")
  assert int(focused) == winner[0] + 1
  browser.press("ARROW_UP", "END")
  focused = browser.driver.switch_to.active_element.get_attribute("data-i")
  assert int(focused) == winner[-1]
  assert "output 1 of" in browser.find("#status").get_attribute("textContent")

  assert TEXTS[1] in browser.find("#facts").text and not browser.find_all("#facts b")
  browser.view(390, 800, "dark")
  assert browser.run("return document.documentElement.scrollWidth") == 390
  assert browser.messages() == [] and browser.requests() == []
