"""docs/recipes.md: its example is followed word for word, its tables are complete."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_recipes import recipes

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
TABLES = ("position", "score", "norm", "residual", "feed_forward", "tying")
TABLES += ("schedule", "optimizer")

SMALL = (
  "--config.data=Dates(examples=200, held_out=12)",
  "--config.tokenizer.vocabulary=560",
  "--config.model.d_model=16",
  "--config.model.d_ff=24",
  "--config.steps=2",
)


def test_the_page_lists_every_recipe():
  expected = {
    param.values[1] for param in recipes() if param.values[0].split(".")[-1] in TABLES
  }
  assert set(re.findall(r"^\| `(\w+)\(\)` \|", PAGE, re.MULTILINE)) == expected


@pytest.mark.slow
def test_the_example_of_the_page_trains_and_is_used(tmp_path):
  scheme, study = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
  body = scheme.partition("@dataclasses")[2].partition("def get_config")[0]
  assert len(body.strip().splitlines()) < 20
  (tmp_path / "log_penalty.py").write_text(scheme, encoding="utf-8")
  (tmp_path / "log_penalty_study.py").write_text(study, encoding="utf-8")
  for name in ("train.py", "configs"):
    (tmp_path / name).symlink_to(ROOT / name)
  (train,) = re.findall(r"^python (train\.py .*)$", PAGE, re.MULTILINE)
  (use,) = re.findall(r"^transformer (.* translate .*)$", PAGE, re.MULTILINE)
  (ablate,) = re.findall(r"^transformer (ablate .*)$", PAGE, re.MULTILINE)
  (message,) = re.findall(r"^error: .*LogPenalty.*$", PAGE, re.MULTILINE)

  def run(*arguments, status=0):
    done = subprocess.run(
      [sys.executable, *arguments],
      cwd=tmp_path,
      env={**os.environ, "PYTHONPATH": str(ROOT)},
      capture_output=True,
      text=True,
    )
    assert done.returncode == status, done.stderr[-2000:]
    return done

  run(*shlex.split(train), *SMALL)
  assert "LogPenalty" in (tmp_path / "runs/log_penalty/config.json").read_text()
  command = ["-m", "transformer.cli"]
  use = shlex.split(use)
  assert use[:2] == ["--import", "log_penalty.py"]
  assert run(*command, *use).stdout.count("\n") == 1
  # Opening the run executes nothing, so without the flag the class is unknown.
  error = run(*command, *use[2:], status=1).stderr.splitlines()[-1]
  assert re.fullmatch(re.escape(message).replace("…", ".*"), error)
  body = study.partition("def get_study")[2]
  assert len(body.strip().splitlines()) < 20
  run(*command, *shlex.split(ablate), *SMALL, "--seeds", "7")
  table = (tmp_path / "runs/log_penalty_study/table.md").read_text(encoding="utf-8")
  assert table.count("| 1 |\n") == 3 and "LogPenalty(start=0.0)" in table
