"""The gradient of softmaxes, against the Jacobian itself."""

import csv
import shutil

import numpy as np
import pytest

from tests.tiny_run import train
from transformer.runs.run import Run
from transformer.studies.softmax_gradient import largest, main


def test_the_largest_entry_is_that_of_the_jacobian():
  rng = np.random.default_rng(0)
  weights_ts = rng.dirichlet(np.full(5, 0.3), size=50)
  jacobian_tss = weights_ts[:, :, None] * (np.eye(5) - weights_ts[:, None])
  expected = np.abs(jacobian_tss).max(axis=(1, 2))
  np.testing.assert_allclose(largest(weights_ts), expected, atol=1e-12)
  assert largest(np.array([0.5, 0.5, 0.0])) == 0.25
  assert largest(np.array([1.0, 0.0])) == 0.0


@pytest.mark.slow
def test_every_checkpoint_of_a_run_has_a_row(tmp_path, capsys):
  assert train(tmp_path / "run", steps=2, eval_every=2, save_every=1) == 0
  steps = Run.open(tmp_path / "run").steps()
  capsys.readouterr()
  output = tmp_path / "found"
  assert main([str(tmp_path / "run"), "--split", "val", "--output", str(output)]) == 0
  with output.with_suffix(".csv").open(newline="") as file:
    rows = list(csv.DictReader(file))
  assert [int(row["step"]) for row in rows] == steps
  for row in rows:
    assert 0.0 < float(row["mean"]) <= 0.25 and 0.0 <= float(row["blocked"]) <= 1.0
  assert output.with_suffix(".png").stat().st_size > 0
  assert capsys.readouterr().out.count("below 0.001") == len(steps)


@pytest.mark.slow
def test_a_run_without_checkpoints_gets_one_line(tmp_path, capsys):
  assert train(tmp_path / "run", steps=1, eval_every=1, save_every=1) == 0
  shutil.rmtree(tmp_path / "run" / "checkpoints")
  capsys.readouterr()
  assert main([str(tmp_path / "run")]) == 1
  assert "no checkpoint yet" in capsys.readouterr().err


def test_what_is_no_run_gets_one_line(tmp_path, capsys):
  assert main([str(tmp_path / "none")]) == 1
  assert capsys.readouterr().err.count("\n") == 1
