"""Every command on a page or in the header of a config works as it stands there.

Verbs run, on runs of the pages' names whose parameters are random. `train.py`, `plan`
and `ablate` read their arguments, the config or study and the settings, and `train.py`
builds the model's shapes; the hours of computing are left out. docs/log.md, a record of
its day, is not held to it. Of the verbs in `PARSED`, only the arguments are read.
"""

import ast
import dataclasses
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import PIL.Image
import pytest
from absl import flags as absl_flags

import train as training_command
from tests.interop.fixtures import (
  FIXTURES,
  write_classifier,
  write_gpt2,
  write_marian,
  write_nllb,
  write_t5,
)
from tests.interop.test_bert import sentence_directory
from tests.tiny import TINY
from transformer import cli, experiment
from transformer import config as configs
from transformer.analysis import plan, plan_text
from transformer.analysis.devices import DEVICES
from transformer.data.sources.digits import Digits
from transformer.interop.convert import import_run
from transformer.interop.hf_directory import HFDirectory
from transformer.runs import processes, trainer
from transformer.runs.prepare import check_model, inherit_model, prepare
from transformer.studies.ablate import Ablation
from transformer.studies.claims import Claims

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
PAGES += sorted(p for p in (ROOT / "docs").glob("*.md") if p.name != "log.md")
HEADERS = sorted((ROOT / "configs").rglob("*.py"))

BLOCK = re.compile(
  r"^```(?:sh|bash)?\n(.*?)^```|((?:^ {4}\S.*\n)+)", re.MULTILINE | re.DOTALL
)
CODE = re.compile(r"(?<!`)`([^`\n]+(?:\n[^`\n]+)?)`(?!`)")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(
  r"(?<!from )(?:python train\.py|transformer (?:--import \S+ )?[a-z]+\b)[^`\n]*$", re.M
)

RUNS = {
  "dates": TINY,
  **{
    run: dataclasses.replace(
      TINY, keep=experiment.read_config(ROOT / "configs" / f"{name}.py").keep
    )
    for run, name in (("m30k", "multi30k"), ("m30k-tok", "multi30k_tokenised"))
  },
  **{
    name: experiment.read_config(ROOT / "configs" / f"{name}.py")
    for name in ("bert", "memory_network", "language_model", "vit", "resnet")
  },
}
IMPORTED = ("opus-mt-en-de", "nllb-200", "flan-t5-small", "gpt2", "sentiment",
            "vit-base", "minilm")  # fmt: skip
OF_VERB = {"generate": "language_model", "fill": "bert", "classify": "memory_network"}
INPUT = {
  "TEXT": "'6. září 2030'", "PROMPT": "The",
  "FILE": "'Anna takes the ball. Anna walks to the office. Where is the ball?'",
}  # fmt: skip


def joined(text: str) -> str:
  """With every line that ends in a backslash as one with the next."""
  return re.sub(r"\s*\\\n\s*", " ", text)


def commands_of_page(page: Path) -> list[str]:
  text = page.read_text(encoding="utf-8")
  found = []
  for match in BLOCK.finditer(text):
    # Lines that a shell has to run together have a test of their own.
    if "$train" not in match[0]:
      found += COMMAND.findall(joined(match[1] or match[2]))
  for code in CODE.findall(FENCED.sub("", text)):
    code = " ".join(code.split())
    if COMMAND.match(code) and len(code.split()) > 2 and "VERB" not in code:
      found.append(code)
  return found


def commands_of_header(config: Path) -> list[str]:
  """Those after `Command:`, each with its further lines, which are indented."""
  header = ast.get_docstring(ast.parse(config.read_text(encoding="utf-8"))) or ""
  match = re.search(r"^Command: (.*(?:\n  .*)*)", joined(header), re.MULTILINE)
  found: list[str] = []
  for line in match[1].splitlines() if match else []:
    if COMMAND.match(line.strip()):
      found.append(line.strip())
    elif found and found[-1].count('"') % 2:
      found[-1] += " " + line.strip()
  return found


def words(command: str) -> list[str]:
  """The words of a command, with values in place of its placeholders."""
  command = re.sub(r"\[([A-Z]+)( …)?\]", lambda m: INPUT.get(m[1], m[0]), command)
  # The last word of a command that was a word of another one.
  if command.endswith("'") and command.count("'") % 2:
    command = command[:-1]
  found = shlex.split(command, comments=True)
  verb = next((word for word in found[1:] if word in VERBS), "")
  values = {
    "RUN": f"runs/{OF_VERB.get(verb, 'dates')}", "RUN_A": "runs/dates",
    "RUN_B": "runs/dates", "CONFIG": "configs/dates.py", "DIR": "study",
    "[CONFIG]": "configs/dates.py", "STUDY": "configs/studies/norms.py",
    "F": "dates.txt", "FILE": "dates.stablehlo",
  }  # fmt: skip
  return [values.get(word, word) for word in found]


PARSED = {"convert", "serve"}
"""Verbs that need other people's models, or do not end by themselves."""

VERBS = {module.__name__.rpartition(".")[2] for module in cli.VERBS}
COMMANDS = {
  tuple(words(command)): command.partition("#")[0].strip()
  for command in (
    *(c for page in PAGES for c in commands_of_page(page)),
    *(c for config in HEADERS for c in commands_of_header(config)),
  )
}
"""The command of each line of words: pages repeat one another."""


def test_the_pages_commands_are_found():
  assert len(COMMANDS) > 50
  used = {word for command in COMMANDS for word in command[:4]}
  assert len(VERBS & used) > 12
  for config in HEADERS:
    assert commands_of_header(config), config


def random_array(leaf):
  """Not negative, as among others a variance of batch norm must be."""
  values = np.random.default_rng(leaf.size).normal(0, 0.1, leaf.shape)
  return np.abs(values).astype(leaf.dtype)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
  """A directory as the pages have it: configs, and runs of them."""
  place = tmp_path_factory.mktemp("pages")
  for name in ("configs", "train.py"):
    (place / name).symlink_to(ROOT / name)
  for name in ("dates.txt", "news.en", "texts.txt"):
    (place / name).write_text("6. září 2030\n", encoding="utf-8")
  for name, config in RUNS.items():
    run = prepare(config, place / "runs" / name)
    params = jax.tree.map(random_array, run.abstract_params())
    with run.checkpoints() as checkpoints:
      for step in range(1, 11):
        note = {"tokenizer_sha256": run.vocabulary.sha256}
        checkpoints.save_params(step, params, note)
  for name in ("m30k-averaged", "m30k-tok-averaged", "log_penalty"):
    shutil.copytree(place / "runs" / "dates", place / "runs" / name)
  page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
  files = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
  for name, text in zip(("log_penalty", "log_penalty_study"), files, strict=True):
    (place / f"{name}.py").write_text(text, encoding="utf-8")
  write_marian(place / "opus-mt-en-de")
  write_nllb(place / "nllb-200")
  write_t5(place / "flan-t5-small")
  write_gpt2(place / "gpt2")
  write_classifier(place / "sentiment")
  shutil.copytree(FIXTURES / "vit", place / "vit-base")
  sentence_directory(place / "minilm", "", ("weight", "bias"), False)
  for name in IMPORTED:
    import_run(HFDirectory(place / name), place / "runs" / name)
  for name, trained in (
    ("opus-mt-en-de", "opus_mt"), ("nllb-200", "nllb"), ("sentiment", "minilm_finetune")
  ):  # fmt: skip
    shutil.copytree(place / "runs" / name, place / "runs" / trained)
  image_yxc, _ = Digits().open("test")[0]
  PIL.Image.fromarray(image_yxc[..., 0]).save(place / "digit.png")
  return place


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=COMMANDS.get)
def test_a_command_works(command, place, monkeypatch, capsys):
  monkeypatch.chdir(place)
  monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"6. 9. 2030\n")))
  monkeypatch.setattr(processes, "join", lambda *_: None)
  monkeypatch.setattr(
    trainer,
    "train",
    lambda config, path: check_model(inherit_model(config, path)) or 0,
  )
  monkeypatch.setattr(Ablation, "run", lambda _: 0)
  monkeypatch.setattr(Claims, "run", lambda *_: 0)
  monkeypatch.setattr(plan, "plan", lambda config, count, device, mesh: DEVICES[device])
  monkeypatch.setattr(plan_text, "render", str)
  monkeypatch.setattr("transformer.cli.plan.as_json", str)
  # What another command made is not overwritten.
  if command[1] == "average":
    shutil.rmtree(f"{command[2]}-averaged", ignore_errors=True)
  program, *rest = command
  if program == "python":
    for flag in absl_flags.FLAGS.get_flags_for_module(training_command):
      flag.unparse()
    monkeypatch.setattr(sys, "argv", rest)
    with pytest.raises(SystemExit) as end:
      training_command.entry()
    status = end.value.code
  elif "--mesh" in rest and rest[0] != "plan":
    # A process has one number of devices.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_NUM_CPU_DEVICES": "2"}
    line = [sys.executable, "-m", "transformer.cli", *rest]
    status = subprocess.run(line, env=environment).returncode
  elif PARSED & {*rest[:1]}:
    status = 0 if cli.parse(rest).run else 1
  else:
    if "compare" in rest and not Path("runs/dates/evaluations").exists():
      assert cli.main(["evaluate", "runs/dates"]) == 0
    status = cli.main(rest)
  assert status == 0, capsys.readouterr().err


SETTINGS = dict.fromkeys(
  part
  for page in PAGES
  if page.name not in ("faults.md", "studies.md")
  for code in CODE.findall(page.read_text(encoding="utf-8"))
  for part in re.findall(r"--config\.[\w.]+=(?:'[^']+'|\"[^\"]+\"|\S+)", code)
  if not re.search(r"NAME|VALUE|…|\bname=value|LogPenalty", part)
)


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_can_be_given(setting):
  (word,) = shlex.split(setting)
  name, _, value = word.removeprefix("--config.").partition("=")
  config = experiment.read_config(ROOT / "configs" / "dates.py")
  assert configs.override(config, name, value) is not None


@pytest.mark.slow
def test_two_processes_on_one_machine(tmp_path):
  """The lines of docs/hosts.md as they stand."""
  page = (ROOT / "docs" / "hosts.md").read_text(encoding="utf-8")
  (script,) = (match[1] for match in BLOCK.finditer(page) if "$train" in match[0])
  for name in ("train.py", "configs"):
    (tmp_path / name).symlink_to(ROOT / name)
  binaries = Path(sys.executable).parent
  path = f"{binaries}{os.pathsep}{os.environ['PATH']}"
  done = subprocess.run(
    ["bash", "-e", "-c", script],
    cwd=tmp_path,
    env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": path},
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr[-3000:]
  assert "on 4 cpu device(s) in 2 processes, from the start" in done.stderr
  assert np.isfinite(
    [float(v) for v in re.findall(r"step 20: loss ([\d.]+)", done.stderr)]
  ).all()
  assert (tmp_path / "runs" / "two" / "report.md").is_file()
