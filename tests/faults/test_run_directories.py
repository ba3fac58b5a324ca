"""What is said of the directory of a run: another one, a full disk, damage."""

import contextlib
import dataclasses
import json
import re
import resource
import shutil
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest
from absl import flags

import train as command
from tests.faults.case import ROOT
from tests.tiny import TINY
from tests.tiny_run import Now, digest
from transformer.data.sources.parallel_text import ParallelText
from transformer.runs import trainer
from transformer.runs.run import Run
from transformer.training import step as training


@pytest.mark.slow
def test_a_run_is_resumed_from_its_directory_alone(case, monkeypatch, capsys):
  assert case.train("--config.schedule=Cosine(warmup=1, steps=20)")[0] == 0

  def resume(*settings):
    for flag in flags.FLAGS.get_flags_for_module(command):
      flag.unparse()
    words = ["train.py", "--workdir", str(case.folder / "run"), *settings]
    with monkeypatch.context() as patch:
      patch.setattr(sys, "argv", words)
      with pytest.raises(SystemExit) as end:
        command.entry()
    return end.value.code, capsys.readouterr().err

  assert resume("--config.steps=8")[0] == 0
  assert Run.open(case.folder / "run").steps()[-1] == 8
  status, output = resume("--config.model.layers=3")
  assert status == 1 and "model.layers: 2 in the run, 3 now" in output


def test_a_directory_of_something_else(case):
  (case.folder / "run").mkdir()
  case.write("run/notes.txt", "mine")
  case.assert_sees("the workdir is something else", case.train())
  assert (case.folder / "run" / "notes.txt").read_text() == "mine"
  case.assert_sees("the directory is not a run", case.call("info", case.folder / "run"))


def test_a_run_of_other_settings(case):
  before = digest(case.run())
  answer = case.train("--config.seed=1", "--config.model.d_ff=32")
  case.assert_sees("the run was made with other settings", answer)
  answer = case.train(config=ROOT / "configs" / "dates.py")
  case.assert_sees("the run was made with another config file", answer)
  assert len(answer[1]) - len(str(case.folder)) < 400
  assert digest(case.folder / "run") == before


def test_a_finished_run(case):
  case.run()
  case.assert_sees("the run is finished", case.train(), status=0)


def test_a_second_process(case):
  path = case.run()
  holder = (
    "import sys\nfrom pathlib import Path\n"
    "from transformer.runs.directory import Lock\n"
    "with Lock(Path(sys.argv[1])): print(flush=True); sys.stdin.read()"
  )
  with subprocess.Popen(
    [sys.executable, "-c", holder, str(path)], cwd=ROOT, stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
  ) as other:  # fmt: skip
    other.stdout.readline()
    status, text = case.train("--config.steps=8")
    text = re.sub(r"process \d+ on \S+", "process 123 on host", text)
    case.assert_sees("another process trains in the workdir", (status, text))
    other.kill()
  # The system lets go of a lock when its process ends, however that was.
  assert case.train("--config.steps=7")[0] == 0


def test_a_vanished_directory(case, monkeypatch):
  real = training.train_step
  calls = []

  def step(*args, **kwargs):
    # While it is traced, that is before the first step is done.
    calls.append(shutil.rmtree(case.folder / "run"))
    return real(*args, **kwargs)

  monkeypatch.setattr(training, "train_step", step)
  case.assert_sees("the workdir vanishes", case.train())
  assert len(calls) == 1 and not (case.folder / "run" / "checkpoints" / "2").exists()


@contextlib.contextmanager
def file_size_limit(size):
  """No file can grow beyond `size` bytes, as on a disk that is full."""
  previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, previous)


def test_a_full_disk(case):
  before = digest(case.run())
  with file_size_limit(40_000):
    answer = case.train("--config.steps=8")
  case.assert_sees("the disk is full", answer)
  assert Run.open(case.folder / "run").steps() == [2, 4, 6]
  assert digest(case.folder / "run") == before


def test_damaged_checkpoints(case):
  path = case.run()
  largest = max((path / "checkpoints" / "6" / "rest").rglob("*"),
                key=lambda file: file.is_file() and file.stat().st_size)  # fmt: skip
  data = bytearray(largest.read_bytes())
  data[len(data) // 2] ^= 1
  largest.write_bytes(data)
  status, text = case.train()
  text = re.sub(r"cannot be read \(.*\)|rest/\S+ is not what was saved \(.*\)",
                "cannot be read (…)", text)  # fmt: skip
  name = "the newest checkpoint is damaged"
  case.assert_sees(name, (status, text), status=0)
  assert (path / "checkpoints" / "damaged-6").is_dir()
  whole = Run.open(path)
  assert whole.steps() == [2, 4, 6]
  for step in whole.steps():
    shutil.rmtree(path / "checkpoints" / str(step) / "params")
    (path / "checkpoints" / str(step) / "params").mkdir()
  status, text = case.call("info", path)
  case.assert_sees("every checkpoint is damaged", (status, text))


def test_damaged_files_of_a_run(case):
  path = case.run()
  stored = json.loads((path / "config.json").read_text())
  hostile = {
    "config.json is not JSON": "{",
    "config.json names an unknown type": stored | {"model": {"type": "os.system"}},
    "config.json has an unknown setting": stored | {"stepps": 3},
    "config.json has a huge value": stored | {"steps": 2**70},
    "config.json is nested too deep": json.loads("[" * 40 + "]" * 40),
    "config.json asks for other sizes": stored
    | {"model": stored["model"] | {"d_ff": 10**15}},
    "config.json asks for another model": stored
    | {"model": {"type": "RNNSeq2Seq", "d_model": 20, "layers": 1}},
  }
  for name, change in hostile.items():
    text = change if isinstance(change, str) else json.dumps(change)
    (path / "config.json").write_text(text)
    status, text = case.call("info", path)
    case.assert_sees(name, (status, text))
  (path / "config.json").write_text(json.dumps(stored))
  model = (path / "tokenizer.model").read_bytes()
  (path / "tokenizer.model").write_bytes(b"\x80\x04not a model")
  case.assert_sees("the tokenizer is damaged", case.call("info", path))
  other_text = dataclasses.replace(TINY.data, seed=5)
  other_size = dataclasses.replace(TINY.tokenizer, vocabulary=570)
  for data, recipe in ((other_text, TINY.tokenizer), (TINY.data, other_size)):
    other = TINY.task.make_vocabulary(data, recipe)
    (path / "tokenizer.model").write_bytes(other)
    case.assert_sees(
      "the tokenizer is another", case.call("translate", path, "1 May 2000")
    )
  (path / "tokenizer.model").write_bytes(model)
  shutil.move(path / "checkpoints", case.folder / "elsewhere")
  (path / "checkpoints").symlink_to(case.folder / "elsewhere")
  case.assert_sees("a part of the run is a link out of it", case.call("info", path))
  (path / "checkpoints").unlink()
  case.assert_sees("the run has no checkpoint", case.call("info", path))


def test_parameters_that_are_not_finite(case):
  run = Run.open(case.run())
  params = jax.tree.map(np.array, run.params())
  params["decoder"]["layers"]["feed_forward"]["w1"][0] = np.nan
  params["embedding"]["table"][0] = np.inf
  with run.checkpoints() as checkpoints:
    checkpoints.save_params(7, params, {"tokenizer_sha256": run.vocabulary.sha256})
  answer = case.call("translate", run.path, "1 May 2000")
  case.assert_sees("the parameters are not finite", answer)


def test_a_text_that_changed(case):
  case.write("a", "one two three\n" * 40)
  case.write("b", "eins zwei drei\n" * 40)
  recipe = ParallelText(*(str(case.folder / name) for name in "abab"))
  settings = [f"--config.data={dataclasses.replace(recipe)}"]
  settings += ["--config.tokenizer.vocabulary=280", "--config.eval_every=50"]
  assert case.train(*settings, "--config.steps=1")[0] == 0
  case.write("b", "eins drei zwei\n" * 40)
  answer = case.train(*settings, "--config.steps=2")
  case.assert_sees("the training text changed since", answer)


def test_sigterm(case, monkeypatch):
  monkeypatch.setattr(trainer, "Interrupt", Now)
  case.assert_sees("SIGTERM", case.train(), status=143)
