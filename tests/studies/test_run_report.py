"""The report of runs: what their files hold, and what a browser shows of it."""

import dataclasses
import json
import math
import shutil

import numpy as np
import pytest

from tests.tiny import TINY
from transformer.cli import main
from transformer.config import dumps
from transformer.layers.positions import Rope
from transformer.models.rnn import RNNSeq2Seq
from transformer.runs.metrics import Metrics
from transformer.studies.curves import read_curves, thin
from transformer.studies.run_report import read_runs, record, report_page, samples

HEAD = "step,name,value\n"
TEXT = "</script><b>8</b> & ü"


def write_run(path, rows, stored=(), **changes):
  """A run of which only the files that a report reads are there."""
  path.mkdir(parents=True)
  (path / "config.json").write_text(dumps(dataclasses.replace(TINY, **changes)))
  lines = [f"{step},{name},{value!r}\n" for step, name, value in rows]
  (path / "metrics.csv").write_text(HEAD + "".join(lines))
  if stored:
    text = json.dumps({"step": 6, "split": "val", "rows": stored, "example": ""})
    (path / "samples.json").write_text(text)
  return path


def decay(count, rate, sentences=300, every=10):
  """A loss that falls, and what training takes: a step has 50 tokens and 0.2 s."""
  for step in range(every, count * every + 1, every):
    yield step, "train/loss", 5.0 * math.exp(-rate * step)
    yield step, "train/target_tokens", 50.0 * step
    yield step, "train/seconds", 0.2 * step
    yield step, "val/sentences", float(sentences)


@pytest.fixture
def three(tmp_path):
  """Two translation runs of the same texts and an older one, in training."""
  rows = ((TEXT, "one", "two"), ("b", "drei", "drei"))
  write_run(tmp_path / "a", decay(9, 0.01), rows, steps=90)
  model = dataclasses.replace(TINY.model, position=Rope())
  other = [(text, f"{output}!", target) for text, output, target in rows]
  write_run(tmp_path / "b", decay(9, 0.03, 200), other, model=model, seed=3, steps=100)
  unlike = [(s, n, v + 1) for s, n, v in decay(5, 0.02) if n == "train/loss"]
  write_run(tmp_path / "c", unlike, model=RNNSeq2Seq(layers=2, d_model=16))
  folder = tmp_path / "a" / "evaluations"
  folder.mkdir()
  (folder / "test.json").write_text(
    '{"bleu": 31.25, "bleu_signature": "nrefs:1|v:2", "step": 90, "split": "test",'
    ' "data_sha256": "x", "search": {"type": "Search", "beam": 7}}'
  )
  for name, text in (("source", "x y\n"), ("reference", "u v\n")):
    (folder / f"test.{name}.txt").write_text(text)
  (folder / "test.txt").write_text("u w\n")
  (folder / "broken.json").write_text("{")
  return [tmp_path / name for name in "abc"]


def test_everything_is_the_runs_own(three):
  found = record(read_runs(three))
  assert [run["name"] for run in found["runs"]] == ["a", "b", "c"]
  steps, values = found["runs"][1]["series"]["train/loss"]
  assert steps == list(range(10, 91, 10))
  np.testing.assert_allclose(values, 5.0 * np.exp(-0.03 * np.array(steps)), rtol=1e-4)
  assert found["runs"][0]["clocks"]["seconds"][1][-1] == pytest.approx(18.0)
  assert found["runs"][2]["clocks"] == {}
  constants = [run["constants"] for run in found["runs"]]
  assert constants == [{"val/sentences": 300.0}, {"val/sentences": 200.0}, {}]
  assert found["metrics"].keys() == {"train/loss"}
  differ = {row["path"]: row["values"] for row in found["settings"]["differ"]}
  assert differ["model"] == ["Transformer", "Transformer", "RNNSeq2Seq"]
  assert differ["model.position"] == ["Sinusoid", "Rope", None]
  assert differ["seed"] == ["0", "3", "0"] and "batching.tokens" not in differ
  shared = {row["path"]: row["values"] for row in found["settings"]["shared"]}
  assert shared["batching.tokens"] == ["192"]
  broken, test = found["evaluations"]
  assert test["scores"] == {"bleu": 31.25} and test["text"] == "test"
  assert test["how"] == {
    "step": "90", "search": "Search(beam=7)", "bleu_signature": "nrefs:1|v:2",
  }  # fmt: skip
  assert broken["text"] == "unreadable" and broken["scores"] == {}


def test_outputs_of_the_same_texts_are_side_by_side(three):
  in_training, evaluated = samples(read_runs(three))
  assert in_training["texts"] == [[TEXT, "two"], ["b", "drei"]]
  assert in_training["outputs"] == [[0, ["one", "drei"]], [1, ["one!", "drei!"]]]
  assert evaluated["titles"] == ["test"]
  assert evaluated["texts"] == [["x y", "u v"]]
  assert evaluated["outputs"] == [[0, ["u w"]]]


def test_a_run_is_read_while_it_is_written(tmp_path):
  run = write_run(tmp_path / "run", [(10, "train/loss", 2.5), (20, "train/loss", 1.5)])
  with (run / "metrics.csv").open("a") as file:
    file.write("30,train/loss,1.2")  # of 1.25
  assert Metrics.read(run) == [(10, "train/loss", 2.5), (20, "train/loss", 1.5)]
  # After a stop, a step is written again.
  with (run / "metrics.csv").open("a") as file:
    file.write("5\n20,train/loss,1.75\n30,train/loss,nan\n")
  (curves,) = read_curves([run])
  assert curves["series"]["train/loss"] == ([10, 20, 30], [2.5, 1.75, None])
  assert "NaN" not in report_page([run])
  (run / "metrics.csv").unlink()
  assert record(read_runs([run]))["metrics"] == {}


def test_trained_runs_of_two_tasks(translation_run, language_run):
  found = record(read_runs([translation_run, language_run]))
  translated, written = found["runs"]
  assert (translated["task"], written["task"]) == ("Translation", "LanguageModelling")
  assert translated["series"]["train/loss"][0] == [1, 2, 3, 4, 5, 6]
  assert written["series"]["val/perplexity"][0] == [4]
  assert found["metrics"]["val/perplexity"]["lower"] is True
  assert found["metrics"]["val/bleu"]["lower"] is False
  for run in found["runs"]:
    steps, seconds = run["clocks"]["processor_seconds"]
    assert steps[-1] == run["steps"] and 0 < seconds[0] < seconds[-1]
  outputs = {run: lines for each in found["samples"] for run, lines in each["outputs"]}
  assert len(found["samples"]) == 2 and all(outputs[run] for run in (0, 1))


def test_thinning_keeps_spikes_gaps_and_ends():
  rng = np.random.default_rng(0)
  values: list = rng.normal(size=5_000).tolist()
  values[1234], values[4321], values[2000] = 99.0, -99.0, None
  steps, kept = thin(list(range(5_000)), values, 100)
  assert len(steps) <= 103 and (steps[0], steps[-1]) == (0, 4_999)
  assert [kept[steps.index(i)] for i in (1234, 4321, 2000)] == [99.0, -99.0, None]
  assert all(kept[i] == values[step] for i, step in enumerate(steps))
  assert thin([1, 2], [3.0, 4.0], 100) == ([1, 2], [3.0, 4.0])


@pytest.mark.parametrize("runs, points, names", [(20, 2_000, 4), (60, 300, 9)])
def test_long_and_many_runs_are_under_two_megabytes(tmp_path, runs, points, names):
  rng = np.random.default_rng(0)
  clocks = "target_tokens", "seconds", "processor_seconds"
  rows = [
    (50 * step, f"train/{name}", value)
    for step in range(1, points + 1)
    for name, value in zip(
      (*clocks, *range(names)), rng.random(3 + names).tolist(), strict=True
    )
  ]
  run = write_run(tmp_path / "run-0", rows)
  for number in range(1, runs):
    shutil.copytree(run, tmp_path / f"run-{number}")
  page = report_page(sorted(tmp_path.iterdir())).encode()
  assert 500_000 < len(page) < 2_000_000


def test_a_study_is_its_rows_in_the_tables_order(tmp_path):
  rows = tmp_path / "study" / "rows"
  for name in ("a-b", "wide-deep"):
    for seed in (10, 2, 33, 4):
      write_run(rows / name / f"seed-{seed}", decay(3, 0.1), seed=seed)
  (tmp_path / "study" / "table.csv").write_text("row,x\nwide / deep,1\na b,2\n")
  found = read_runs([tmp_path / "study", rows / "a-b" / "seed-2"])
  assert [run.name for run in found] == [
    f"{name}/seed-{seed}" for name in ("wide-deep", "a-b") for seed in (2, 4, 10, 33)
  ]


def test_what_is_no_run_is_refused_and_nothing_is_written(three, tmp_path, capsys):
  (tmp_path / "d" / "rows").mkdir(parents=True)
  output = tmp_path / "report.html"
  for path, message in (
    (tmp_path, "not a run (it has no config.json) and not a study (it has no rows)"),
    (tmp_path / "d", "a study of which no row has begun"),
  ):
    assert main(["report", str(three[0]), str(path), "--output", str(output)]) == 1
    assert capsys.readouterr().err == f"error: {path}: {message}\n"
    assert not output.exists()


@pytest.fixture
def opened(three, browser, tmp_path):
  output = tmp_path / "report.html"
  assert main(["report", *map(str, three), "--output", str(output)]) == 0
  browser.view()
  browser.open(output)
  browser.wait()
  return browser


LOSS = ".panel[data-metric='train/loss']"


def readout(browser):
  """Run and value of each curve of the loss's panel, in their order on the page."""
  return browser.run(
    "return [...document.querySelectorAll(arguments[0])]"
    ".map((e) => [Number(e.dataset.run), Number(e.dataset.value)])",
    f"{LOSS} .readout [data-run]",
  )


def test_keys_and_pointer_read_the_runs_numbers(opened):
  opened.find(f"{LOSS} svg").click()
  opened.press("HOME")
  first = readout(opened)
  assert [run for run, _ in first] == [1, 0, 2]  # the lowest loss first
  np.testing.assert_allclose(
    [value for _, value in first],
    [5.0 * math.exp(-0.3), 5.0 * math.exp(-0.1), 1 + 5.0 * math.exp(-0.2)],
    rtol=1e-4,
  )
  opened.press("ARROW_RIGHT", "END")
  assert [run for run, _ in readout(opened)] == [1, 0]  # the third has ended
  assert "90 updates" in opened.find(f"{LOSS} .readout").text
  opened.press("ESCAPE")
  assert readout(opened) == []
  opened.hover(opened.find(f"{LOSS} svg"))
  assert 40 < float(opened.find(f"{LOSS} .readout b").text) < 60
  assert opened.messages() == [] and opened.requests() == []


def test_axes_scale_smoothing_and_the_legend(opened):
  def curve(run=0):
    return opened.find(f"{LOSS} .curve[data-run='{run}']").get_attribute("d")

  def labels():
    return [each.text for each in opened.find_all(f"{LOSS} text")]

  before = curve()
  opened.find("[data-key=seconds]").click()
  assert "seconds of training" in labels() and "15" in labels()
  assert not opened.find_all(f"{LOSS} .curve[data-run='2']")  # has not recorded them
  opened.find("[data-key=target_tokens]").click()
  opened.find(f"{LOSS} svg").click()
  opened.press("END")
  assert "4,500 target tokens" in opened.find(f"{LOSS} .readout").text
  assert opened.find("[data-key=processor_seconds]").get_attribute("disabled")
  opened.find("[data-key=updates]").click()
  assert curve() == before
  opened.find("[data-key=log]").click()
  logarithmic = curve()
  assert logarithmic != before
  # An exponential is a line on it: the points are at equal distances.
  heights = [float(p.split()[1]) for p in logarithmic[1:].replace("L", "M").split("M")]
  np.testing.assert_allclose(np.diff(heights), np.diff(heights)[0], atol=0.11)
  opened.find("[data-key=linear]").click()
  opened.run(
    "const s = document.querySelector('input[type=range]'); s.value = 0.9;"
    "s.dispatchEvent(new Event('input'))"
  )
  assert curve() != before and len(opened.find_all(".curve.raw")) == 3
  opened.find(".legend [data-run='0']").click()
  assert not opened.find_all(f"{LOSS} .curve[data-run='0']")
  assert opened.find(".legend [data-run='0']").get_attribute("aria-pressed") == "false"
  opened.press("ARROW_RIGHT", "SPACE")
  assert not opened.find_all(f"{LOSS} .curve[data-run='1']")
  assert opened.messages() == []


def test_tables_show_texts_as_texts_in_both_schemes_and_when_narrow(opened):
  text = opened.find("main").text
  for each in ("nrefs:1|v:2", "31.25", "90 updates", "model.position", TEXT,
               "90 of 100 (training, or stopped)", "No stored outputs: c.",
               "The same at every step: val/sentences 300 or 200."):  # fmt: skip
    assert each in text, each
  assert opened.find_all("#samples b") == []
  papers = []
  for scheme in ("light", "dark"):
    opened.view(390, 800, scheme)
    papers.append(opened.run("return getComputedStyle(document.body).backgroundColor"))
    assert opened.run("return document.documentElement.scrollWidth") == 390
  assert papers[0] != papers[1]
  assert opened.messages() == []
