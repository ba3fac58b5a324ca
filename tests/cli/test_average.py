"""`transformer average` and `transformer info`: runs and their checkpoints."""

import json
import shutil

import numpy as np
import pytest

from tests.cli.conftest import SEARCH
from transformer import tree
from transformer.runs import trainer
from transformer.runs.run import Run


def test_an_average_is_a_run_with_the_mean_of_the_last(run, lines, call, tmp_path):
  status, out, _ = call("average", run, "--last", 2, "--output", tmp_path / "mean")
  assert status == 0 and "steps 80, 120" in out
  opened = Run.open(run)
  for path, leaf in tree.paths(Run.open(tmp_path / "mean").params()).items():
    parts = [tree.paths(opened.params(step))[path] for step in (80, 120)]
    np.testing.assert_allclose(leaf, np.mean(parts, axis=0), atol=1e-7)
  status, out, _ = call("translate", tmp_path / "mean", *SEARCH, *lines)
  assert status == 0 and out.count("\n") == 6
  with pytest.raises(ValueError, match="holds parameters alone"):
    trainer.train(opened.config, tmp_path / "mean")


def test_the_best_are_those_of_the_highest_rank(run, call, monkeypatch, tmp_path):
  ranks = {40: 3.0, 80: 1.0, 120: 2.0}
  monkeypatch.setattr(Run, "ranks", lambda self: ranks)
  status, out, _ = call("average", run, "--best", 2, "--output", tmp_path / "mean")
  assert status == 0 and "steps 40, 120" in out
  _, out, _ = call("info", run, "--json")
  # The loss is better where it is lower, a rank where it is higher.
  assert json.loads(out)["val/loss"] == {str(s): -rank for s, rank in ranks.items()}
  status, _, err = call("average", run, "--best", 4)
  assert status == 1
  assert f"--best: expected 1 to 3, got 4; {run} has 3 evaluated checkpoints" in err


def test_the_run_may_be_the_directory_itself(run, call, monkeypatch, tmp_path):
  monkeypatch.chdir(shutil.copytree(run, tmp_path / "run"))
  status, out, err = call("average", ".", "--last", 2)
  assert (status, err) == (0, "") and out.startswith(f"{tmp_path / 'run'}-averaged: ")
  status, _, err = call("average", ".", "--last", 2, "--output", ".")
  assert status == 1 and err == "error: .: already exists; give another --output\n"
  status, _, err = call("translate", ".", "x", "--output", ".")
  assert status == 1 and "it is a directory; name a file" in err


def test_info_shows_a_run(run, call):
  status, out, _ = call("info", run, "--json")
  record = json.loads(out)
  assert status == 0
  assert record["step"] == 120 and record["checkpoints"] == [40, 80, 120]
  opened = Run.open(run)
  assert record["val/loss"]["120"] == -opened.ranks()[120] > 0
  assert record["parameters"] == tree.size(opened.params())
  assert record["parameters_sha256"] == tree.sha256(opened.params())
  assert record["config"]["model"]["d_ff"] == 24
  _, older, _ = call("info", run, "--json", "--step", 80)
  assert json.loads(older)["parameters_sha256"] != record["parameters_sha256"]
