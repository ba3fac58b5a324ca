"""The page of recipes: its example is followed word for word, its tables are whole."""

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
  wanted = {
    param.values[1] for param in recipes() if param.values[0].split(".")[-1] in TABLES
  }
  listed = set(re.findall(r"^\| `(\w+)\(\)` \|", PAGE, re.MULTILINE))
  assert listed == wanted


@pytest.mark.slow
def test_the_example_of_the_page_trains(tmp_path):
  programs = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
  scheme = programs[0].partition("@dataclasses")[2].partition("def get_config")[0]
  assert len(scheme.strip().splitlines()) < 20
  (command,) = re.findall(r"^python (train\.py .*)$", PAGE, re.MULTILINE)
  (tmp_path / "log_penalty.py").write_text(programs[0], encoding="utf-8")
  for name in ("train.py", "configs"):
    (tmp_path / name).symlink_to(ROOT / name)
  (tmp_path / "use.py").write_text(programs[1], encoding="utf-8")

  def run(*arguments):
    done = subprocess.run(
      [sys.executable, *arguments],
      cwd=tmp_path,
      env={**os.environ, "PYTHONPATH": str(ROOT)},
      capture_output=True,
      text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout

  run(*shlex.split(command), *SMALL)
  assert "LogPenalty" in (tmp_path / "runs/log_penalty/config.json").read_text()
  assert run("use.py").startswith("[")
  (tmp_path / "log_penalty_study.py").write_text(programs[2], encoding="utf-8")
  body = programs[2].partition("def get_study")[2]
  assert len(body.strip().splitlines()) < 20
  (study,) = re.findall(r"^transformer (ablate .*)$", PAGE, re.MULTILINE)
  run("-m", "transformer.cli", *shlex.split(study), *SMALL, "--seeds", "7")
  table = (tmp_path / "runs/log_penalty_study/table.md").read_text(encoding="utf-8")
  assert table.count("| 1 |\n") == 3 and "LogPenalty(start=0.0)" in table
