"""The floors: imports point strictly downwards, and nothing heavy comes along."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

FLOORS = [
  {"config", "axes", "batch", "tree", "hashing", "printing"},
  {"layers", "data", "training", "decoding"},
  {"models"},
  {"inference"},
  {"tasks"},
  {"experiment"},
  {"runs"},
  {"analysis"},
  {"interop", "inspection"},
  {"studies"},
  {"server"},
  {"cli"},
  {"__init__", "__main__"},
]
"""From the ground up; rooms of one floor do not import each other."""
DRAWERS = {"utils", "util", "common", "helpers", "helper", "misc"}
NAMED = ("configs", "transformer", "tests", "benchmarks")  # searched for drawers


def modules(package: Path) -> dict[str, Path]:
  """Every module under `package` by its dotted name, `layers.attention`; a folder's
  own file has the folder's name, the package's own is `__init__`."""
  found = {}
  for path in sorted(package.rglob("*.py")):
    parts = path.relative_to(package).with_suffix("").parts
    if parts[-1] == "__init__" and len(parts) > 1:
      parts = parts[:-1]
    found[".".join(parts)] = path
  return found


def imports(package: Path) -> dict[str, set[str]]:
  """The modules of `package` that each of its modules imports, at any depth of its
  code: an import inside a function is one too."""
  files = modules(package)

  def owner(name: str) -> str:
    while (
      name and name not in files and not (package / name.replace(".", "/")).is_dir()
    ):
      name = name.rpartition(".")[0]
    return name or "__init__"

  result = {}
  for module, path in files.items():
    here = [package.name, *path.relative_to(package).parent.parts]
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
      if isinstance(node, ast.Import):
        names += [alias.name for alias in node.names]
      elif isinstance(node, ast.ImportFrom):
        base = here[: len(here) + 1 - node.level] if node.level else []
        base = ".".join([*base, *([node.module] if node.module else [])])
        names += [f"{base}.{alias.name}" for alias in node.names]
    inside = (name.partition(".") for name in names)
    result[module] = {owner(rest) for top, _, rest in inside if top == package.name}
  return result


def floor(module: str) -> int | None:
  """The floor of a module; None where its first room is on none."""
  room = module.partition(".")[0]
  return next((n for n, rooms in enumerate(FLOORS) if room in rooms), None)


def circle(graph: dict[str, set[str]]) -> list[str]:
  """The modules of one circle of imports, in order; empty where there is none."""
  done: set[str] = set()

  def visit(module: str, path: list[str]) -> list[str]:
    if module in path:
      return path[path.index(module) :]
    if module in done:
      return []
    for target in sorted(graph.get(module, ())):
      if target != module and (found := visit(target, [*path, module])):
        return found
    done.add(module)
    return []

  return next((found for module in graph if (found := visit(module, []))), [])


def breaches(package: Path) -> list[str]:
  """One line for each import, or room, that breaks the order of the floors."""
  graph = imports(package)
  lines = [f"{module} is on no floor" for module in graph if floor(module) is None]
  for module, targets in graph.items():
    for target in sorted(targets):
      a, b = floor(module), floor(target)
      same_room = module.partition(".")[0] == target.partition(".")[0]
      if a is None or same_room or (b is not None and b < a):
        continue
      lines.append(f"{module} (floor {a}) imports {target} (floor {b})")
  if found := circle(graph):
    lines.append("a circle: " + " -> ".join([*found, found[0]]))
  return lines


def test_imports_point_strictly_downwards():
  assert modules(ROOT / "transformer")
  assert breaches(ROOT / "transformer") == []


@pytest.mark.parametrize(
  "files, expected",
  [
    ({"runs/run.py": "from transformer.tasks.base import Task"}, []),
    ({"layers/norms.py": "from transformer.layers import linear"}, []),
    ({"cli/show.py": "from transformer.runs import run"}, []),
    ({"models/stack.py": "from .. import axes"}, []),
    (
      {"layers/norms.py": "import transformer.models.stack"},
      ["layers.norms (floor 1) imports models.stack (floor 2)"],
    ),
    (
      {"layers/norms.py": "from transformer.training import losses"},
      ["layers.norms (floor 1) imports training.losses (floor 1)"],
    ),
    (
      {"axes.py": "from transformer.batch import PAD"},
      ["axes (floor 0) imports batch (floor 0)"],
    ),
    (
      {"data/sources/text.py": "def f():\n  from ...tasks import base"},
      ["data.sources.text (floor 1) imports tasks.base (floor 4)"],
    ),
    (
      {"models/stack.py": "from transformer import VERSION"},
      ["models.stack (floor 2) imports __init__ (floor 12)"],
    ),
    ({"drawer.py": ""}, ["drawer is on no floor"]),
    (
      {"runs/run.py": "from . import report", "runs/report.py": "from . import run"},
      ["a circle: runs.report -> runs.run -> runs.report"],
    ),
  ],
)
def test_breaches_are_found(tmp_path, files, expected):
  package = tmp_path / "transformer"
  present = ["__init__", "axes", "batch", "layers/linear", "layers/norms", "tasks/base"]
  present += ["models/stack", "training/losses", "runs/__init__", "runs/run"]
  for name, text in {**{f"{n}.py": "" for n in present}, **files}.items():
    (package / name).parent.mkdir(parents=True, exist_ok=True)
    (package / name).write_text(text)
  assert breaches(package) == expected


def test_no_drawers():
  drawers = [
    str(path.relative_to(ROOT))
    for folder in NAMED
    for path in (ROOT / folder).rglob("*")
    if path.stem in DRAWERS
    and (path.suffix == ".py" or path.is_dir())
    # The benchmark's own environment holds other people's files.
    and ".venv-peers" not in path.parts
  ]
  assert drawers == []


@pytest.mark.parametrize(
  "module", ["transformer", "transformer.runs.run", "transformer.cli"]
)
def test_import_reaches_for_no_other_framework(module, tmp_path):
  """Stand-ins that cannot be imported tell who asks for them, installed or not."""
  for framework in ("tensorflow", "torch"):
    (tmp_path / framework).mkdir()
    (tmp_path / framework / "__init__.py").write_text(
      "import traceback; traceback.print_stack(); print('REACHED', __name__)\n"
      "raise ImportError(__name__)\n"
    )
  path = os.pathsep.join([str(tmp_path), str(ROOT)])
  done = subprocess.run(
    [sys.executable, "-c", f"import {module}"],
    env={**os.environ, "PYTHONPATH": path},
    capture_output=True,
    text=True,
    timeout=120,
  )
  assert done.returncode == 0, done.stderr
  assert "REACHED" not in done.stdout, done.stderr


TRAINING_ALONE = {
  "optax",
  "orbax",
  "grain",
  "matplotlib",
  "sacrebleu",
  "babel",
  "pooch",
}
"""Packages of training, evaluation and figures, which take a second to import."""


def test_using_a_run_imports_nothing_of_training():
  kinds = ("translator", "generator", "classifier", "embedder", "filler")
  names = ", ".join(f"transformer.runs.{kind}" for kind in kinds)
  code = f"import {names}, sys; print(*sys.modules)"
  done = subprocess.run(
    [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
  )
  loaded = {name.partition(".")[0] for name in done.stdout.split()}
  assert "jax" in loaded
  assert not loaded & TRAINING_ALONE


def test_reading_a_run_imports_nothing_of_training(translation_run):
  code = "import sys; from transformer.cli import main; main(); print(*sys.modules)"
  done = subprocess.run(
    [sys.executable, "-c", code, "info", str(translation_run)],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  assert "parameters_sha256" in done.stdout
  loaded = {name.partition(".")[0] for name in done.stdout.split()}
  assert "tensorstore" in loaded
  assert not loaded & TRAINING_ALONE


def test_guards_of_the_suite_are_on():
  import jax

  assert jax.config.jax_numpy_rank_promotion == "raise"
  assert jax.config.jax_debug_key_reuse
  assert jax.config.jax_compilation_cache_dir
