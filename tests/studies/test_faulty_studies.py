"""Studies and files of a study that are wrong: one line, and nothing else is lost."""

import dataclasses
import json
import math
import shutil

import pytest

from tests.studies import test_sweep
from tests.studies.test_ablate import ALL, BASE, STUDY, Trainer, go, made_up
from tests.studies.test_ablate import done as done
from transformer.cli import main
from transformer.runs.metrics import Metrics
from transformer.studies import ablate
from transformer.studies.ablate import Ablation
from transformer.studies.budget import Measurements, Seconds, TargetTokens
from transformer.studies.claims import Claim, Claims
from transformer.studies.figures import Figure, LinesOverRows
from transformer.studies.rows import HeldOut, MatchParameters, Row
from transformer.studies.sweep import Sweep

HEAD = """
from dataclasses import replace
from tests.studies.test_ablate import *
from tests.studies.test_faulty_studies import *
"""


@pytest.mark.parametrize(
  "body, message",
  [
    ("get_study = 3", "get_study: TypeError: 3 is not a callable object"),
    ("def get_study(x: 'Nothing' = 1): return STUDY", "NameError: name 'Nothing' is"),
    ("def get_study(x): return STUDY", "get_study() missing 1 required"),
    ("def get_study(): raise KeyError('x')", "study.py: KeyError: 'x'"),
    ("def get_study(): return Claims('t', 3)", "Claims.claims: expected tuple, got 3"),
    ("def get_study(): return Claims('t', (Claim('a', 'b', 3),))",
     "Claim.measure: expected Callable, got 3"),
  ],
)  # fmt: skip
def test_a_file_without_a_study_gets_one_line(tmp_path, capsys, body, message):
  file, path = tmp_path / "study.py", tmp_path / "out"
  file.write_text(HEAD + body)
  assert main(["ablate", str(file), "--workdir", str(path)]) == 1
  err = capsys.readouterr().err
  assert err.startswith(f"error: {file}: ") and message in err and err.count("\n") == 1
  assert not path.exists()


@pytest.mark.parametrize(
  "make, message",
  [
    (lambda: Row("a", None), "Row.changes: expected Mapping, got None"),
    (lambda: Row("a", {3: 4}), "Row.changes: expected str, got 3"),
    (lambda: Row(3), "Row.name: expected str, got 3"),
    (lambda: Row("\udce4"), "Row.name: invalid UTF-8 .0xe4 at character 1"),
    (lambda: Row("a", {}, ("x",)), r"Row.published\[0\]: expected float or None, got"),
    (lambda: Row("a", x="q"), "Row.x: expected float, got 'q'"),
    (lambda: Row("a", match=None), "Row.match: expected Match, got None"),
    (lambda: MatchParameters(3), "MatchParameters.field: expected str, got 3"),
    (lambda: HeldOut(3), "HeldOut.name: expected str, got 3"),
    (lambda: HeldOut(data=3), "HeldOut.data: expected Source or None, got 3"),
    (lambda: HeldOut("val", "vall"), "split: expected one of train, val, test, got"),
    (lambda: Sweep({"steps": 3}), r"Sweep.settings\['steps'\]: expected Sequence"),
    (lambda: Sweep({"steps": "ab"}), r"Sweep.settings\['steps'\]: expected Sequence"),
    (lambda: Sweep({"steps": ()}), "sweep.settings: steps has no value to try"),
    (lambda: Seconds("x"), "Seconds.amount: expected float, got 'x'"),
    (lambda: Seconds(math.inf), "budget: expected a finite number, got inf"),
  ],
)
def test_a_part_of_a_study_names_the_field_that_is_wrong(make, message):
  with pytest.raises(ValueError, match=message):
    make()


@pytest.mark.parametrize(
  "changes, message",
  [
    (dict(title=3), "Study.title: expected str, got 3"),
    (dict(base=None), "Study.base: expected Config, got None"),
    (dict(rows=("x",)), r"Study.rows\[0\]: expected Row, got 'x'"),
    (dict(columns="val/loss"), "Study.columns: expected tuple, got 'val/loss'"),
    (dict(seeds=(1.0,)), r"Study.seeds\[0\]: expected int, got 1.0"),
    (dict(seeds=(True,)), r"Study.seeds\[0\]: expected int, got True"),
    (dict(seeds=(3, -1)), "study.seeds: expected 0 or more, got -1"),
    (dict(notes="abc"), "Study.notes: expected tuple, got 'abc'"),
    (dict(budget=None), "Study.budget: expected Budget, got None"),
    (dict(figure=None), "Study.figure: expected Figure, got None"),
    (dict(rows=(Row(""),)), "study.rows: '' cannot name a directory"),
    (dict(rows=(Row(".."),)), "study.rows: '..' cannot name a directory"),
    (dict(rows=(Row("a" * 256),)), r"'aaaa.*\.\.\. cannot name a directory"),
    (dict(sweep=Sweep({"steps": (4, 4)})), "sweep.settings: two have one name"),
  ],
)
def test_a_study_names_the_field_that_is_wrong(changes, message):
  with pytest.raises(ValueError, match=message):
    dataclasses.replace(STUDY, published=(), **{"rows": (Row("a"),)} | changes)
  # Not so strict that a list would not do.
  assert dataclasses.replace(STUDY, seeds=[1, 2]).seeds == [1, 2]


@pytest.mark.parametrize(
  "words, message",
  [
    (["--seeds", "-1"], "study.seeds: expected 0 or more, got -1"),
    (["--config.seed=3"], "--config.seed: a study has seeds of its own; give --seeds"),
  ],
)
def test_flags_that_a_study_cannot_take(tmp_path, capsys, words, message):
  file = tmp_path / "study.py"
  file.write_text(f"{HEAD}def get_study(): return STUDY")
  assert main(["ablate", str(file), "--workdir", str(tmp_path / "out"), *words]) == 1
  assert capsys.readouterr().err == f"error: {message}\n"


@pytest.mark.parametrize("words", [["--seeds", "1"], ["--count"]])
def test_claims_take_no_seeds(tmp_path, capsys, words):
  file = tmp_path / "study.py"
  file.write_text(f"{HEAD}def get_study(): return Claims('t', ())")
  assert main(["ablate", str(file), "--workdir", str(tmp_path / "out"), *words]) == 1
  assert "checks claims and trains nothing" in capsys.readouterr().err


def test_a_setting_is_named_once():
  study = dataclasses.replace(STUDY, rows=(Row("x", {"steps": 0}),), published=())
  with pytest.raises(ValueError, match=r"^row 'x': steps: expected 1 or more, got 0$"):
    study.configs()


def test_a_claim_that_fails_does_not_cost_the_others(tmp_path, capsys):
  claims = (
    Claim("one", "a", lambda: 1 / 0),
    Claim("none", "a", lambda: None),
    Claim("two", "a", lambda: 2.0, least=1.0),
  )
  study = Claims("t", claims, draw=lambda file: 1 / 0)
  assert study.run(tmp_path / "out") == 1
  err = capsys.readouterr().err.splitlines()
  assert err[0] == "[1/3] one: ZeroDivisionError: division by zero"
  assert err[1] == "[1/3] one: nan (NO)" and err[2].startswith("[2/3] none: TypeError")
  assert err[4] == "[3/3] two: 2 (yes)" and "no figure could be drawn" in err[5]
  assert (tmp_path / "out/table.csv").read_text().count("\n") == 4
  assert (tmp_path / "out/report.html").exists()


class Broken(Figure):
  """Cannot be drawn."""

  def draw(self, *_) -> bool:
    raise RuntimeError("no\nink")


@pytest.mark.parametrize("figure", [Broken(), LinesOverRows("x", True)])
def test_a_figure_that_cannot_be_drawn_does_not_stop_the_study(
  tmp_path, capsys, figure
):
  rows = (Row("a", x=0), Row("b"))  # no logarithm has 0
  study = dataclasses.replace(STUDY, rows=rows, published=(), figure=figure)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr("warnings.warn", lambda *_, **__: None)
    assert go(study, tmp_path / "study")[0] == 0
  err = capsys.readouterr().err
  assert "study: no figure could be drawn (" in err and "[2/2] b" in err
  assert isinstance(figure, LinesOverRows) or "(RuntimeError: no ink)" in err
  assert (tmp_path / "study/report.html").exists()


def test_a_dollar_in_a_name_is_no_formula(tmp_path, capsys):
  study = dataclasses.replace(STUDY, rows=(Row("a $x^{ $ b_ "),), published=())
  assert go(study, tmp_path / "study")[0] == 0
  assert (tmp_path / "study/figure.png").exists()
  assert "no figure" not in capsys.readouterr().err


STORED = {
  "nested too deep": "[" * 100_000,
  "a list": "[1]",
  "cut off": '{"fingerprint"',
  "empty": "",
}


@pytest.mark.parametrize(
  "change",
  [*STORED.values(), {"scores": [1]}, {"scores": {"val/perplexity": "x"}},
   {"tokens_per_second": None}, {"outputs": []}, {"seconds": "x"}],
)  # fmt: skip
def test_a_damaged_result_is_made_again(done, tmp_path, change):
  path = shutil.copytree(done, tmp_path / "copy")
  file = path / "rows/base/seed-5/study.json"
  if isinstance(change, dict):
    change = json.dumps(json.loads(file.read_text()) | change)
  file.write_text(change)
  assert go(STUDY, path) == (0, ALL[1:2])


def test_files_of_a_study_that_are_directories_are_named(done, tmp_path, capsys):
  study = tmp_path / "study.py"
  study.write_text(f"{HEAD}def get_study(): return STUDY")
  for name in ("table.csv", "figure.png", "report.html"):
    path = shutil.copytree(done, tmp_path / name)
    (path / name).unlink()
    (path / name).mkdir()
    assert main(["ablate", str(study), "--workdir", str(path)]) == 1
    err = capsys.readouterr().err.splitlines()[-1]
    assert err == f"error: {path / name}: Is a directory"
    assert not [*path.glob(".[!l]*")]


def test_damaged_metrics_are_read_as_far_as_they_are_rows(tmp_path):
  (tmp_path / "metrics.csv").write_bytes(
    b"step,name,value\n1,a,2.5\n\xff\xfe,b,1\n" + b"9" * 200_000 + b"\n"
    b'2,"a,3\n3,a,1,2\n4,a,0.5\n5,a,0'
  )
  assert Metrics.read(tmp_path) == [(1, "a", 2.5), (2, '"a', 3.0), (4, "a", 0.5)]


def test_a_row_without_memory_does_not_cost_the_others(tmp_path):
  class Hungry(Trainer):
    def train(self, config, path):
      if "wide" in str(path):
        raise MemoryError("out of memory at a batch of 3")
      return super().train(config, path)

  rows = (*STUDY.rows, Row("last"))
  study = dataclasses.replace(STUDY, rows=rows)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(ablate, "train", Hungry().train)
    patch.setattr(ablate, "score", made_up)
    ablation = Ablation(study, tmp_path / "study")
    assert ablation.run() == 1
  assert [len(row.results) for row in ablation.rows] == [2, 0, 2]
  assert ablation.rows[1].failed == "out of memory at a batch of 3"


def test_trials_that_are_damaged_or_without_a_score(tmp_path):
  path, losses = tmp_path / "study", test_sweep.LOSSES
  _, _, calls = test_sweep.go(test_sweep.SWEPT, path, losses)
  first = path / "rows/base/trials" / calls[0][1] / "trial.json"
  stored = json.loads(first.read_text())
  for change in ({"score": "x"}, {"score": [1]}, {"failed": 3}):
    first.write_text(json.dumps(stored | change))
    status, _, again = test_sweep.go(test_sweep.SWEPT, path, losses)
    assert status == 0 and again[0][1] == calls[0][1]
  study = dataclasses.replace(test_sweep.SWEPT, sweep=Sweep())
  assert test_sweep.go(study, path, losses)[0] == 0
  assert not (path / "trials.csv").exists()  # of what the study was before
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(Metrics, "read", lambda _: [])
    _, rows, _ = test_sweep.go(test_sweep.SWEPT, tmp_path / "other", losses)
  assert "metrics.csv has no val/loss; delete the run" in rows[0].failed


def test_a_damaged_budget_is_named(tmp_path):
  budget = TargetTokens(1000)
  digest, file = budget.digest(BASE), tmp_path / "budget.json"
  measurements = Measurements(tmp_path)
  assert measurements.config(budget, BASE) is None
  for text in (
    *(*STORED.values(), "null", f'{{"{digest}": NaN}}'),
    *(json.dumps({digest: value}) for value in ("x", 0, -1, None, [1], True)),
  ):
    file.write_text(text)
    with pytest.raises(ValueError, match=f"{file}: damaged .*delete it to measure"):
      measurements.config(budget, BASE)
  file.write_text(json.dumps({digest: 100}))
  assert measurements.config(budget, BASE).steps == 10
