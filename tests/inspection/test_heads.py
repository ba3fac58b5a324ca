"""Heads masked in turn: what masking does, and that scores are the task's own."""

import dataclasses
import json

import numpy as np
import pytest

from tests.models.test_family import small
from tests.tiny import TINY
from transformer import cli, tree
from transformer.data.sources.image_folder import ImageFolder
from transformer.data.sources.plain_text import PlainText
from transformer.inspection.attention import attention
from transformer.inspection.heads import (
  count_heads,
  heads_of,
  mask_head,
  output_weights,
  shapes,
)
from transformer.inspection.heads_page import figure, page, table
from transformer.inspection.inputs import Opened, read_input
from transformer.models.rnn_search import RNNSearch
from transformer.runs.run import Run
from transformer.tasks.base import EvaluationInputs

NAMES = ["decoder/self_attention", "decoder/source_attention", "encoder/self_attention"]


@pytest.fixture(scope="module")
def found(translation_run):
  return heads_of(Run.open(translation_run), limit=4)


@pytest.mark.slow
def test_scores_without_a_limit_are_those_of_the_evaluation(translation_run):
  run = Run.open(translation_run)
  opened, task = Opened.of(run), run.config.task
  params = mask_head(opened.params, output_weights(run)[NAMES[0]].split("/"), 1, 0)
  inputs = EvaluationInputs(
    run.module(), params, run.config.data, run.vocabulary, "val", run.cache, False
  )
  wanted, _ = task.evaluate(inputs)
  found = heads_of(opened)
  (head,) = (
    x for x in found.heads if (x.attention, x.layer, x.head) == (NAMES[0], 2, 1)
  )
  for name in ("loss", "chrf", "exact_match"):
    assert head.scores[name] == pytest.approx(wanted[name], rel=1e-4)
  assert found.scores["loss"] != head.scores["loss"]


def test_masking_removes_one_head_and_nothing_else(translation_run):
  """The output of the first layer's attention changes by exactly that head's part."""
  run = Run.open(translation_run)
  params, paths = run.params(), output_weights(run)
  assert sorted(paths) == NAMES and count_heads(run) == 3 * 2 * 2
  masked = mask_head(params, paths[NAMES[2]].split("/"), 1, 0)
  before, after = tree.paths(params), tree.paths(masked)
  for path in before:
    if path != paths[NAMES[2]]:
      assert before[path] is after[path]
  changed_lh = np.any(np.asarray(before[paths[NAMES[2]]] != after[paths[NAMES[2]]]),
                      axis=(2, 3))  # fmt: skip
  assert changed_lh.tolist() == [[False, False], [True, False]]
  batch = read_input(run.config.task, Opened(run, params), "8 May 2001", "2001").batch
  ours, theirs = (attention(run.module(), x, batch) for x in (params, masked))
  # The weights of the masked layer do not see it; those of the decoder do.
  np.testing.assert_array_equal(*(x[NAMES[2]].weights_bhts for x in (ours, theirs)))
  assert np.any(ours[NAMES[1]].weights_bhts != theirs[NAMES[1]].weights_bhts)


def test_every_head_is_there_with_its_change(found):
  assert [(x.attention, x.layer, x.head) for x in found.heads] == [
    (name, layer, head) for name in NAMES for layer in (1, 2) for head in (1, 2)
  ]
  assert found.scores["sentences"] == 4
  for each in found.heads:
    for name, change in each.change.items():
      assert change == pytest.approx(each.scores[name] - found.scores[name])
    assert each.entropy > 0 and each.distance >= 0
  assert len({each.change["loss"] for each in found.heads}) > 6


def test_entropy_and_distance_of_known_weights():
  weights_lhts = np.zeros((1, 2, 2, 4), np.float32)
  weights_lhts[0, 0] = 0.25
  weights_lhts[0, 1, :, 3] = 1.0
  entropy_lht, distance_lht = shapes(weights_lhts)
  np.testing.assert_allclose(entropy_lht[0], [[np.log(4)] * 2, [0.0] * 2], atol=1e-6)
  np.testing.assert_allclose(distance_lht[0], [[1.5, 1.0], [3.0, 2.0]])


def test_the_table_has_the_most_important_head_first(found):
  lines = table(found).splitlines()
  assert len(lines) == 2 + len(found.heads) and lines[1].startswith("(whole model)")
  first = max(found.heads, key=lambda each: each.change["loss"])
  assert lines[2].split()[:3] == [first.attention, str(first.layer), str(first.head)]
  assert f"{first.scores['loss']:.4f}" in lines[2]


def test_the_command_prints_json_and_writes_a_figure(
  translation_run, found, tmp_path, capsys
):
  file = tmp_path / "x.png"
  words = ["heads", translation_run, "--limit", 4, "--json", "--output", file]
  assert cli.main([str(word) for word in words]) == 0
  out, err = capsys.readouterr()
  record = json.loads(out)
  assert err.splitlines()[-1] == str(file) and file.read_bytes().startswith(b"\x89PNG")
  assert record["scores"]["loss"] == pytest.approx(found.scores["loss"])
  assert len(record["heads"]) == len(found.heads)
  assert figure(found).startswith(b"\x89PNG")


@pytest.mark.parametrize(
  "words, message",
  [
    (["--limit", "0"], "--limit: expected 1 or more, got 0"),
    (["--split", "dev"], "train, val, test"),
    (["--step", "5"], "no checkpoint of step 5"),
    (["--output", "x.gif"], "--output: expected a name that ends in .html"),
  ],
)
def test_mistakes_get_one_line(translation_run, words, message, capsys):
  assert cli.main(["heads", str(translation_run), *words]) == 1
  captured = capsys.readouterr()
  assert message in captured.err and captured.err.count("\n") == 1
  assert captured.out == ""


def test_other_tasks_score_whole_splits(language_run):
  with pytest.raises(ValueError, match=r"--limit: the task of .* is LanguageModelling"):
    heads_of(Run.open(language_run), limit=2)


@pytest.mark.parametrize("data", [ImageFolder("no/images"), PlainText(("no/text",))])
def test_missing_data_says_where_it_was(translation_run, data):
  run = Run.open(translation_run)
  run.config = dataclasses.replace(run.config, data=data)
  message = rf"no/.*; the data of {run.path} is where it was trained, .*: put it back"
  with pytest.raises(FileNotFoundError, match=message):
    heads_of(run)


def test_a_model_without_heads_says_so(tmp_path, tiny_tokenizer):
  run = Run(tmp_path, dataclasses.replace(TINY, model=small(RNNSearch)), tiny_tokenizer)
  with pytest.raises(ValueError, match="RNNSearch has no attention heads to mask"):
    heads_of(Opened(run, {}))


def test_the_page_in_a_browser(found, browser, tmp_path):
  file = tmp_path / "page.html"
  file.write_text(page(found), encoding="utf-8")
  browser.view()
  browser.open(file)
  browser.wait()

  def values():
    return [
      float(cell.get_attribute("data-value"))
      for cell in browser.find_all("#grids button")
    ]

  wanted = [each.change["loss"] for each in found.heads]
  np.testing.assert_allclose(values(), wanted, atol=1e-6)
  measures = browser.find_all("#measures button")
  next(each for each in measures if "entropy" in each.text).click()
  np.testing.assert_allclose(values(), [x.entropy for x in found.heads], atol=1e-6)
  cells = browser.find_all("#grids button")
  browser.hover(cells[1])
  assert "layer 1, head 2: loss" in browser.find("#status").text
  cells[1].click()
  browser.press("ARROW_DOWN")
  assert "layer 2, head 2: loss" in browser.find("#status").text
  assert len(browser.find_all("#table tbody tr")) == len(found.heads)
  browser.view(390, 800, "dark")
  assert browser.run("return document.documentElement.scrollWidth") == 390
  assert browser.messages() == [] and browser.requests() == []
