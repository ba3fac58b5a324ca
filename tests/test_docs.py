"""The pages: paths and links exist; recipes are complete, and their example works."""

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


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
PAGES += sorted(p for p in (ROOT / "docs").glob("*.md") if p.name != "log.md")
PATH = re.compile(r"(?<![\w./-])(?:[\w.-]+/)+[\w-]+\.(?:py|md|png|lock|toml)\b")
FOLDER = re.compile(r"(?<![\w./-])(?:transformer|tests|docs|configs)/[\w/]+(?![\w./-])")
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
MADE_BY_A_RUN = re.compile(r"(?:runs|rows|RUN)/|.*/report\.md$")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_of_a_page_exists(page):
  """Paths are from the root, or, in pages on code, from the package or the page."""
  text = page.read_text(encoding="utf-8")
  paths = {p for p in PATH.findall(text) if not MADE_BY_A_RUN.match(p)}
  paths |= set(FOLDER.findall(text))
  bases = (ROOT, ROOT / "transformer", page.parent)
  assert [p for p in sorted(paths) if not any((b / p).exists() for b in bases)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_resolves(page):
  links = LINK.findall(page.read_text(encoding="utf-8"))
  assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_readme_is_short():
  assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 130
