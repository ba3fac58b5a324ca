"""A study from its file to its table: resumed, matched, refused."""

import csv
import dataclasses
import io
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.tiny import TINY
from transformer import tree
from transformer.analysis.counts import count
from transformer.cli import main
from transformer.config import dumps
from transformer.data.sources.parallel_text import ParallelText
from transformer.data.tokenizers.sentence_piece import SentencePiece
from transformer.runs.metrics import Metrics
from transformer.runs.processes import INTERRUPTED
from transformer.runs.run import Run
from transformer.studies import ablate, row_results, significance, table
from transformer.studies.ablate import Ablation
from transformer.studies.figures import (
  DotPlot,
  DotPlotByLine,
  LinesOverHeldOut,
  LinesOverRows,
)
from transformer.studies.page import markdown
from transformer.studies.result import NAME, Result, fingerprint, score
from transformer.studies.rows import (
  HeldOut,
  Row,
)
from transformer.studies.study import Study, read

BASE = dataclasses.replace(TINY, steps=4, eval_every=4, save_every=2, log_every=1)

STUDY = Study(
  title="Does width | help?",
  base=BASE,
  rows=(
    Row("base", {}, (7000, 3.5), line="narrow", x=1),
    Row("wide / deep", {"model.d_ff": 40, "model.layers": 3}, (None, 2.5), x=2),
  ),
  columns=("val/perplexity", "other/chrf"),
  seeds=(3, 5),
  held_out=(HeldOut(), HeldOut("other", "test", x=1)),
  published=("parameters", "val/perplexity"),
  notes=("Said & done.",),
)


def made_up(path, config, held_out):
  """A result as if `path` had been trained: other numbers for every row and seed."""
  size = config.model.d_ff + config.seed / 10
  names = [f"{one.name}/{n}" for one in held_out for n in ("perplexity", "chrf")]
  wanted = [f"the {i} brown foxes jump over" for i in range(5)]
  return Result(
    fingerprint=fingerprint(config, held_out),
    scores={name: size + i for i, name in enumerate(names)},
    outputs=[text[: -config.seed] for text in wanted],
    references=wanted,
    tokens_per_second=100.0 + size,
  )


class Trainer:
  """Stands for the trainer and for scoring; `calls` are the runs it was given."""

  def __init__(self, stop_at=None, fail_at=None):
    self.calls, self.stop_at, self.fail_at = [], stop_at, fail_at

  def train(self, config, path):
    self.calls.append(f"{path.parent.name}/{path.name}")
    print("trained", config.steps, file=sys.stderr)
    if len(self.calls) == self.stop_at:
      return INTERRUPTED
    if self.calls[-1] == self.fail_at:
      raise ValueError("10 steps in a row without a finite loss")
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(dumps(config))
    return 0


def go(study, path, **faults):
  """Does a study with made-up runs; the exit status, and which were trained."""
  trainer = Trainer(**faults)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(ablate, "train", trainer.train)
    patch.setattr(ablate, "score", made_up)
    return Ablation(study, path).run(), trainer.calls


ALL = [f"{row}/seed-{seed}" for row in ("base", "wide-deep") for seed in (3, 5)]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
  """A finished study, not to be changed."""
  path = tmp_path_factory.mktemp("studies") / "study"
  assert go(STUDY, path) == (0, ALL)
  return path


def rows_of(path):
  with (path / "table.csv").open() as file:
    return list(csv.DictReader(file))


def test_a_study_ends_in_tables_a_figure_and_a_page(done):
  rows = rows_of(done)
  assert [row["row"] for row in rows] == ["base", "wide / deep"]
  for row, d_ff in zip(rows, (BASE.model.d_ff, 40), strict=True):
    assert float(row["val/perplexity"]) == pytest.approx(d_ff + 0.4)
    assert float(row["val/perplexity deviation"]) == pytest.approx(0.02**0.5)
    assert float(row["other/chrf seed 5"]) == pytest.approx(d_ff + 3.5)
    assert int(row["seeds"]) == 2
    assert float(row["tokens_per_second"]) == pytest.approx(100.4 + d_ff)
  more = int(rows[1]["parameters"]) - int(rows[0]["parameters"])
  assert more > 0 and float(rows[0]["parameters published"]) == 7000
  assert rows[1]["parameters published"] == ""
  assert float(rows[1]["val/perplexity published"]) == 2.5
  assert rows[0]["p"] == "" and 0 < float(rows[1]["p"]) <= 1
  text = (done / "table.md").read_text()
  assert "| model.d_ff=40, model.layers=3 |" in text and "Said & done." in text
  assert "* Lower is better: val/perplexity.\n" in text
  assert f"| {more:+,} |" in text
  p_of_seeds = float(rows[1]["val/perplexity p of seeds"])
  assert f"| 40.4 ± 0.14 (p {p_of_seeds:.2g}) | 2.5 |" in text
  assert rows[0]["val/perplexity p of seeds"] == "" and "Welch's t-test" in text
  assert (done / "figure.png").read_bytes().startswith(b"\x89PNG")
  page = (done / "report.html").read_text()
  assert "Said & done." in page and "data:image/png;base64," in page
  assert "trained 4" in (done / "rows/base/seed-3.log").read_text()


def test_what_is_done_is_not_done_again(done, tmp_path):
  path = shutil.copytree(done, tmp_path / "copy")
  before = (path / "table.csv").read_bytes()
  assert go(STUDY, path) == (0, [])
  assert (path / "table.csv").read_bytes() == before
  (path / "rows/wide-deep/seed-5" / NAME).unlink()
  assert go(STUDY, path) == (0, ALL[3:])
  assert (path / "table.csv").read_bytes() == before


def test_a_result_is_of_the_study_s_experiment(translation_run):
  """Whatever the run inherited from another one, its tokenizer say."""
  config = dataclasses.replace(BASE, tokenizer=SentencePiece(vocabulary=600))
  result = score(translation_run, config, STUDY.held_out[:1])
  assert result.fingerprint == fingerprint(config, STUDY.held_out[:1])
  assert result.scores["val/perplexity"] > 1


def test_another_experiment_is_not_taken_for_done(done, tmp_path):
  path = shutil.copytree(done, tmp_path / "copy")
  longer = dataclasses.replace(STUDY, base=dataclasses.replace(BASE, steps=5))
  other = dataclasses.replace(
    STUDY, held_out=(HeldOut("val", "test"), HeldOut("other"))
  )
  for study in (longer, other):
    ablation = Ablation(study, path)
    assert ablation.count() == 0
    assert [row.results for row in ablation.rows] == [[], []]
  assert Ablation(STUDY, path).count() == 0
  assert [row["seeds"] for row in rows_of(path)] == ["2", "2"]


def test_a_stopped_study_leaves_what_was_done_and_goes_on(done, tmp_path, capsys):
  path = tmp_path / "study"
  assert go(STUDY, path, stop_at=4) == (INTERRUPTED, ALL)
  assert [row["seeds"] for row in rows_of(path)] == ["2", "1"]
  assert "the same command resumes it" in capsys.readouterr().err
  assert go(STUDY, path) == (0, ALL[3:])
  err = capsys.readouterr().err
  assert "[1/2] base:" in err and "(done before)" in err and "[2/2] wide / deep" in err
  assert (path / "table.csv").read_bytes() == (done / "table.csv").read_bytes()


def test_a_row_that_fails_is_a_finding(tmp_path, capsys):
  third = Row("third", {"model.d_ff": 20})
  study = dataclasses.replace(STUDY, rows=(*STUDY.rows, third))
  status, calls = go(study, tmp_path / "study", fail_at="wide-deep/seed-5")
  assert status == 1 and calls == [*ALL, "third/seed-3", "third/seed-5"]
  rows = rows_of(tmp_path / "study")
  assert [row["seeds"] for row in rows] == ["2", "1", "2"]
  assert "without a finite loss" in rows[1]["failed"] and not rows[2]["failed"]
  err = capsys.readouterr().err
  assert "[2/3] wide / deep: failed: 10 steps" in err and "[3/3] third" in err


@pytest.mark.slow
def test_a_row_is_a_run_as_any_other(tmp_path):
  """Through the real trainer: scores are the run's own, and so are parameters."""
  study = dataclasses.replace(STUDY, rows=STUDY.rows[:1], seeds=(5,))
  assert Ablation(study, tmp_path).run() == 0
  run = Run.open(tmp_path / "rows/base/seed-5")
  assert run.config == dataclasses.replace(BASE, seed=5)
  (row,) = rows_of(tmp_path)
  (loss,) = (v for _, name, v in Metrics.read(run.path) if name == "val/loss")
  assert float(row["val/perplexity"]) == pytest.approx(np.exp(loss))
  assert row["val/perplexity deviation"] == "0.0"
  assert int(row["parameters"]) == tree.size(run.params())
  assert "done; see" in (tmp_path / "rows/base/seed-5.log").read_text()


@pytest.mark.parametrize("file", ["train", "val"])
def test_a_result_of_other_texts_is_not_taken_for_done(tmp_path, file):
  data = texts(tmp_path)
  base = dataclasses.replace(BASE, data=data)
  (tmp_path / "run").mkdir()
  made_up(tmp_path / "run", base, STUDY.held_out[:1]).write(tmp_path / "run")
  held_out = STUDY.held_out[:1]
  assert Result.read(tmp_path / "run", base, held_out) is not None
  (tmp_path / f"{file}.target").write_text("drei zwei eins\n" * 40)
  assert Result.read(tmp_path / "run", base, held_out) is None


def texts(folder):
  """A small parallel corpus with texts of its own to score on."""
  files = []
  for split, words in (("train", "one two"), ("val", "two three")):
    for side in ("source", "target"):
      files.append(folder / f"{split}.{side}")
      files[-1].write_text(f"{words} {side}\n" * 40)
  return ParallelText(*map(str, files))


@pytest.mark.slow
def test_changed_training_text_is_refused(tmp_path):
  """As when the run itself is resumed: tests/faults."""
  base = dataclasses.replace(
    BASE, data=texts(tmp_path), tokenizer=SentencePiece(vocabulary=280), steps=1
  )
  study = dataclasses.replace(
    STUDY, base=base, rows=STUDY.rows[:1], seeds=(5,), held_out=STUDY.held_out[:1],
    columns=("val/loss",), published=("parameters", "val/loss"),
  )  # fmt: skip
  assert Ablation(study, tmp_path / "study").run() == 0
  (tmp_path / "train.target").write_text("target one two\n" * 40)
  ablation = Ablation(study, tmp_path / "study")
  assert ablation.run() == 1
  assert re.search("training text of .* has changed since", ablation.rows[0].failed)


def test_p_is_the_paired_bootstraps():
  """Outputs that are all wrong against outputs that are all right: the least p that so
  many resamples can give; against themselves, nothing to see."""
  right = tuple(f"the {i} brown foxes jump over" for i in range(40))
  wrong = tuple(f"no {i}" for i in range(40))
  assert row_results.p_value((wrong,), (right,), right) == pytest.approx(1 / 1001)
  assert row_results.p_value((right,), (right,), right) == 1.0


def test_equal_seeds_are_no_further_evidence():
  """p of one seed is sacreBLEU's, and of several alike the very same."""
  references = tuple(f"the {i} brown foxes jump over {7 * i} dogs" for i in range(60))
  a, b = (
    tuple(r.replace("jump", "fall") if n % k else r for n, r in enumerate(references))
    for k in (3, 4)
  )
  p = row_results.p_value((a,), (b,), references)
  assert 0.05 < p < 0.5
  assert p == significance.paired_bootstrap(a, b, references)["BLEU"].p
  assert row_results.p_value((a,) * 5, (b,) * 5, references) == p


def test_a_single_seed_has_no_deviation_to_show():
  assert str(row_results.summarise([2.0])) == "2"
  assert str(row_results.summarise([2.0, 3.0])) == "2.5 ± 0.71"


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_a_score_that_is_not_finite_leaves_a_study_usable(odd):
  made = [
    row_results.RowResults(row, BASE, "", count(BASE), results=[
      made_up(Path(), dataclasses.replace(BASE, seed=seed), STUDY.held_out)
      for seed in STUDY.seeds
    ])
    for row in STUDY.rows
  ]  # fmt: skip
  made[1].results[0].scores["val/perplexity"] = odd
  text = markdown("x", *table.cells(STUDY, made), ())
  assert f"| {odd} ± nan | 2.5 |" in text and "| 24.4 ± 0.14 | 3.5 |" in text
  row = list(csv.DictReader(io.StringIO(table.as_csv(STUDY, made))))[1]
  assert row["val/perplexity deviation"] == "nan"
  assert row["val/perplexity p of seeds"] == ""


@pytest.mark.parametrize(
  "figure",
  [
    LinesOverHeldOut("texts", ("chrf",), mark=0.5, marked="here"),
    LinesOverRows("x", True),
    DotPlot(("other/chrf",), ((0.0, 50.0),)),
    DotPlotByLine("other/chrf"),
  ],
)
def test_figures_are_drawn(done, tmp_path, figure):
  path = shutil.copytree(done, tmp_path / "copy")
  (path / "figure.png").unlink()
  assert Ablation(dataclasses.replace(STUDY, figure=figure), path).count() == 0
  assert (path / "figure.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
  "changes, message",
  [
    (dict(rows=()), "at least one row"),
    (dict(rows=(Row("a b"), Row("a/b"))), "two have one name"),
    (dict(seeds=(1, 1)), "two have one name"),
    (dict(columns=("val/blue",)), "there is no 'val/blue'; there are val/loss"),
    (dict(published=("parameter", "val/perplexity")), "there is no 'parameter'"),
    (dict(published=("parameters",)), "2 published figures for 1"),
    (dict(figure=DotPlot(("val/bleu",))), "study.figure: there is no 'val/bleu'"),
    (
      dict(figure=DotPlotByLine()),
      "study.figure: there is no 'val/loss'; there are val",
    ),
  ],
)
def test_what_is_no_study_is_said_before_anything_runs(changes, message):
  with pytest.raises(ValueError, match=message):
    dataclasses.replace(STUDY, **changes)


FILE = """
import dataclasses
from typing import Literal
from tests.studies.test_ablate import STUDY, Row

def get_study(kind: Literal["one", "two"] = "one"):
  rows = STUDY.rows if kind == "two" else STUDY.rows[:1]
  return dataclasses.replace(STUDY, rows=rows)
"""


def test_a_study_from_the_command_line(tmp_path, capsys):
  file = tmp_path / "study.py"
  file.write_text(FILE)
  study = read(file, [("kind", "two"), ("model.heads", "4")])
  assert len(study.rows) == 2 and study.base.model.heads == 4
  assert read(file, []).base == BASE and len(read(file, []).rows) == 1
  command = ["ablate", str(file), "--workdir", str(tmp_path / "out"), "--count"]
  assert main([*command, "--seeds", "7", "9", "11", "--config.model.layers=1"]) == 0
  out = capsys.readouterr().out
  assert "seeds 7, 9, 11" in out
  parameters = count(dataclasses.replace(read(file, [("model.layers", "1")]).base))
  assert f"{parameters.parameters:,}" in out
  assert not (tmp_path / "out" / "rows").exists()


@pytest.mark.parametrize(
  "arguments, message",
  [
    (["--config.kind=three"], "--config.kind"),
    (["--config.model.layer=1"], "did you mean model.layers"),
    (["--seeds", "1", "1"], "two have one name"),
  ],
)
def test_bad_settings_get_one_line(tmp_path, capsys, arguments, message):
  file = tmp_path / "study.py"
  file.write_text(FILE)
  assert main(["ablate", str(file), "--workdir", str(tmp_path / "o"), *arguments]) == 1
  err = capsys.readouterr().err
  assert message in err and err.count("\n") == 1
  assert not (tmp_path / "o").exists()


def test_a_directory_of_something_else_is_left_alone(tmp_path, capsys):
  file = tmp_path / "study.py"
  file.write_text(FILE)
  (tmp_path / "o").mkdir()
  (tmp_path / "o" / "config.json").write_text("x")  # as a run has it
  assert main(["ablate", str(file), "--workdir", str(tmp_path / "o")]) == 1
  assert "not a study and not empty" in capsys.readouterr().err
  assert [p.name for p in (tmp_path / "o").iterdir()] == ["config.json"]
  with pytest.raises(FileNotFoundError, match="no such Python file"):
    read(Path("nothing.py"), [])
  file.write_text("def get_study():\n  return 3\n")
  with pytest.raises(ValueError, match="returns int, not a Study"):
    read(file, [])


def test_tables_take_any_text():
  """A bar in a name does not end its cell; csv gives back what went in."""
  odd = dataclasses.replace(STUDY, rows=(Row('a | "b", c'),), published=())
  made = [row_results.RowResults(odd.rows[0], BASE, "", count(BASE))]
  text = markdown("x", *table.cells(odd, made), ("note",))
  line = text.splitlines()[4]
  assert line.startswith('| a \\| "b", c | – | – |')
  (row,) = csv.DictReader(io.StringIO(table.as_csv(odd, made)))
  assert row["row"] == 'a | "b", c' and row["p"] == ""
