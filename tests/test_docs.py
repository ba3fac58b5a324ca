"""The pages: paths and links exist; recipes are complete, and their example works."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_recipes import recipes
from transformer.interop.families import FAMILIES

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


def test_the_page_names_every_class_that_can_be_imported():
  page = (ROOT / "docs" / "huggingface.md").read_text(encoding="utf-8")
  table = page.partition("## What is covered")[2].partition("\n\n## ")[0]
  known = {name for family in FAMILIES for name in family.architectures}
  assert set(re.findall(r"`(\w+Model|\w+For\w+)`", table)) == known


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
