"""What a user sees when something is wrong: every row of docs/faults.md, seen here.

A test of this file brings one fault about and gives the line that was printed; it must
be the one of docs/faults.md, in which `…/` stands for the directory of the test.
"""

import ast
import contextlib
import dataclasses
import json
import re
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import PIL.Image
import pytest
from absl import flags
from safetensors.numpy import load_file, save_file

import train as command
from tests.interop.fixtures import write_classifier, write_marian
from tests.runs.test_run import ROOT, Now, digest, losses
from tests.tiny import TINY
from transformer import cli
from transformer import config as configs
from transformer.data.pipeline import all_rows
from transformer.data.sources.parallel_text import ParallelText
from transformer.inference.search import Search
from transformer.runs import trainer
from transformer.runs.run import Run
from transformer.tasks import text_scores
from transformer.training import step as training

DOCUMENT = ROOT / "docs" / "faults.md"
ROWS = dict(
  (name.strip(), line.strip().strip("`"))
  for name, line in re.findall(r"^\| (.+?) \| (`.+`) \|$", DOCUMENT.read_text(), re.M)
)

POISONED = '''
import dataclasses
import jax.numpy as jnp
from transformer import config
from transformer.experiment import Config
from transformer.tasks.translation import Translation

@dataclasses.dataclass(frozen=True)
class Poisoned(Translation):
  """Its loss is not a number where the first row's sum divides by `every`."""
  every: int = 1

  def loss(self, module, params, batch, key):
    found, batch_stats = super().loss(module, params, batch, key)
    bad = jnp.sum(batch.source.id_bt[0]) % self.every == 0
    return found._replace(total=jnp.where(bad, jnp.nan, found.total)), batch_stats

def get_config():
  return dataclasses.replace(config.loads(Config, BASE), task=Poisoned())
'''

HUNGRY = '''
import dataclasses
import jax
import jax.numpy as jnp
from transformer import config
from transformer.experiment import Config
from transformer.tasks.translation import Translation

@dataclasses.dataclass(frozen=True)
class Hungry(Translation):
  """Its loss needs 40 TB."""

  def loss(self, module, params, batch, key):
    found, batch_stats = super().loss(module, params, batch, key)
    one = found.count * jax.lax.stop_gradient(found.total)
    large = jnp.sort(jnp.arange(10**13, dtype=jnp.float32) * one)
    return found._replace(total=found.total + large[7]), batch_stats

def get_config():
  return dataclasses.replace(config.loads(Config, BASE), task=Hungry())
'''


class Case:
  """A fresh directory, the two commands, and the document's rows."""

  def __init__(self, folder, finished_run, capsys, monkeypatch):
    self.folder, self._finished = folder, finished_run
    self._capsys, self._monkeypatch = capsys, monkeypatch
    self.write("config.py", (
      "from transformer import config\nfrom transformer.experiment import Config\n"
      f"def get_config():\n  return config.loads(Config, {configs.dumps(TINY)!r})\n"
    ))  # fmt: skip

  def write(self, name, text):
    data = text if isinstance(text, bytes) else text.encode()
    (self.folder / name).write_bytes(data)
    return self.folder / name

  def run(self):
    """A copy of a finished run."""
    return shutil.copytree(self._finished, self.folder / "run")

  def train(self, *settings, config="config.py", run="run"):
    """`python train.py`; its status and what it printed."""
    words = ["train.py", "--config", str(self.folder / config), "--workdir",
             str(self.folder / run), *settings]  # fmt: skip
    self._capsys.readouterr()
    # What an earlier call gave would still be there.
    for flag in flags.FLAGS.get_flags_for_module(command):
      flag.unparse()
    with self._monkeypatch.context() as patch:
      patch.setattr(sys, "argv", words)
      with pytest.raises(SystemExit) as end:
        command.entry()
    return end.value.code, "".join(self._capsys.readouterr())

  def call(self, *words):
    """`transformer VERB`; its status and what it printed."""
    self._capsys.readouterr()
    status = cli.main([str(word) for word in words])
    return status, "".join(self._capsys.readouterr())

  def sees(self, name, answer, status=1):
    """The document's row `name`, in which `…` stands for any text, is a line of
    `answer`, which has one error at most."""
    found, text = answer
    assert found == status, text
    lines = [line.replace(f"{self.folder}/", "…/") for line in text.splitlines()]
    row = re.escape(ROWS[name]).replace("…", ".*")
    assert any(re.fullmatch(row, line) for line in lines), (ROWS[name], lines[-5:])
    assert sum(line.startswith("error: ") for line in lines) <= 1, lines
    assert "Traceback" not in text, text


IMAGES = {
  "a file is no image": b"not an image",
  "an image has no fixed white": [np.ones((9, 9), np.float32)],
  "an image has several frames": [np.zeros((9, 9), np.uint8)] * 2,
}


def test_early_stopping(case):
  settings = ("--config.patience=1", "--config.eval_every=1")
  learned = "--config.model.position=Learned(40)"
  answer = case.train(*settings, learned, "--config.schedule=Schedule(rate=0.0)")
  case.sees("no evaluation is better any more", answer, status=0)
  case.sees("the table of positions is shorter than the texts", answer, status=0)


@pytest.mark.parametrize("name", IMAGES)
def test_images(case, name):
  content = IMAGES[name]
  for folder in ("cat", "dog"):
    (case.folder / "pictures" / folder).mkdir(parents=True)
    for i in range(60):
      file = case.folder / "pictures" / folder / f"{i}.tif"
      if isinstance(content, bytes):
        file.write_bytes(content)
      else:
        first, *rest = map(
          PIL.Image.fromarray, content if isinstance(content, list) else [content]
        )
        first.save(file, save_all=True, append_images=rest)
  settings = (
    f"--config.data=ImageFolder({str(case.folder / 'pictures')!r})",
    "--config.model.layers=1",
  )
  case.sees(name, case.train(*settings, config=ROOT / "configs" / "vit.py"))


@pytest.fixture
def case(tmp_path, translation_run, capsys, monkeypatch):
  return Case(tmp_path, translation_run, capsys, monkeypatch)


SETTINGS = [
  ("a setting is misspelt", "--config.stepps=3"),
  ("a setting inside a recipe is misspelt", "--config.model.layer=3"),
  ("a setting is called as in another toolkit", "--config.learning_rate=1e-3"),
  (
    "a recipe's setting is called as in another toolkit",
    "--config.optimizer=Adam(lr=1)",
  ),
  ("a setting is one of a part", "--config.position=Rope()"),
  ("a value is of the wrong kind", "--config.steps=many"),
  ("a value is out of range", "--config.steps=0"),
  ("a recipe is unknown", "--config.model.position=Sinusoids()"),
  ("a recipe has no such setting", "--config.schedule=Noam(warmpu=10)"),
  ("heads do not divide the width", "--config.model.heads=3"),
  ("the mesh does not fit the devices", "--config.mesh=Mesh(data=3)"),
  ("the score to go by is unknown", "--config.metric=belu"),
  ("a decay is out of range", "--config.ema=1"),
  ("BLEU's tokenizer is unknown", "--config.task.tokenize=cjk"),
  ("BLEU's tokenizer is not installed", "--config.task.tokenize=ja-mecab"),
  ("a setting is not finite", "--config.ema=nan"),
  ("nothing would be kept", "--config.keep.latest=0"),
  ("a batch cannot hold one row", "--config.batching.tokens=32"),
  (
    "the vocabulary is too large for the text",
    "--config.tokenizer.vocabulary=90000",
  ),
  ("a word is not a setting", "steps=3"),
  ("only some of the processes' flags are given", "--processes=2"),
]


@pytest.mark.parametrize("name, flag", SETTINGS)
def test_settings(case, name, flag, monkeypatch):
  monkeypatch.setitem(sys.modules, "MeCab", None)
  case.sees(name, case.train(flag))
  assert not (case.folder / "run").exists()


def test_a_run_to_start_from(case):
  init = f"--config.init={case.run()}"
  answer = case.train(f"--config.init={case.folder / 'none'}", run="new")
  case.sees("the run to start from is not a run", answer)
  answer = case.train(
    init, "--config.model=RNNSeq2Seq(layers=1, d_model=20)", run="new"
  )
  case.sees("the run to start from has nothing of this model", answer)
  answer = case.train("--config.freeze=('encodr',)", run="new")
  case.sees("what is to be frozen is misspelt", answer)
  answer = case.train("--config.freeze=('encoder', 'decoder', 'embedding')", run="new")
  case.sees("all is to be frozen", answer)
  assert not (case.folder / "new").exists()


def test_config_files(case):
  case.sees("the config file is missing", case.train(config="none.py"))
  case.write("broken.py", "def get_config(:\n")
  case.sees("the config file is not Python", case.train(config="broken.py"))
  case.write("empty.py", "def get_config():\n  return {}\n")
  case.sees("the config file returns no config", case.train(config="empty.py"))


def test_texts(case):
  def data(source, target):
    recipe = ParallelText(str(case.folder / source), str(case.folder / target))
    return f"--config.data={recipe}"

  case.write("a", "one\ntwo\n")
  case.write("b", "eins\n")
  case.write("latin", "Übung\nzwei\n".encode("latin-1"))
  case.write("empty", "")
  case.write("a.gz", "one\ntwo\n")
  case.sees("a training file is gzip by name alone", case.train(data("a.gz", "b")))
  case.sees("a training file is missing", case.train(data("none", "b")))
  answer = case.train(data("a", "b"))
  case.sees("the two sides differ in length", answer)
  assert "made from the training data" not in answer[1]
  case.sees("a training file is not UTF-8", case.train(data("a", "latin")))
  case.sees("a training file is empty", case.train(data("empty", "empty")))
  assert not (case.folder / "run").exists()
  answer = case.train("--config.batching=Packed(tokens=64, length=2)")
  case.sees("no example fits into a batch", answer)
  case.write("one", "one\n" * 60)
  files = {
    "source": "one",
    "target": "one",
    "val_source": "empty",
    "val_target": "empty",
  }
  recipe = ParallelText(**{k: str(case.folder / name) for k, name in files.items()})
  settings = [f"--config.data={recipe}", "--config.tokenizer.vocabulary=270"]
  answer = case.train(*settings, run="other")
  case.sees("there is nothing to evaluate on", answer)


def test_a_schedule_that_follows_the_steps(case):
  cosine = "--config.schedule=Cosine(warmup=1)"
  assert case.train(cosine)[0] == 0
  answer = case.train(cosine, "--config.steps=9")
  case.sees("the schedule would change on resume", answer)
  assert case.train(cosine, "--config.steps=9", "--config.schedule.steps=6")[0] == 0


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
  case.sees("the workdir is something else", case.train())
  assert (case.folder / "run" / "notes.txt").read_text() == "mine"
  case.sees("the directory is not a run", case.call("info", case.folder / "run"))


def test_a_run_of_other_settings(case):
  before = digest(case.run())
  answer = case.train("--config.seed=1", "--config.model.d_ff=32")
  case.sees("the run was made with other settings", answer)
  assert digest(case.folder / "run") == before


def test_a_finished_run(case):
  case.run()
  case.sees("the run is finished", case.train(), status=0)


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
    case.sees("another process trains in the workdir", (status, text))
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
  case.sees("the workdir vanishes", case.train())
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
  case.sees("the disk is full", answer)
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
  case.sees(name, (status, text), status=0)
  assert (path / "checkpoints" / "damaged-6").is_dir()
  whole = Run.open(path)
  assert whole.steps() == [2, 4, 6]
  for step in whole.steps():
    shutil.rmtree(path / "checkpoints" / str(step) / "params")
    (path / "checkpoints" / str(step) / "params").mkdir()
  status, text = case.call("info", path)
  case.sees("every checkpoint is damaged", (status, text))


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
    case.sees(name, (status, text))
  (path / "config.json").write_text(json.dumps(stored))
  model = (path / "tokenizer.model").read_bytes()
  (path / "tokenizer.model").write_bytes(b"\x80\x04not a model")
  case.sees("the tokenizer is damaged", case.call("info", path))
  other_text = dataclasses.replace(TINY.data, seed=5)
  other_size = dataclasses.replace(TINY.tokenizer, vocabulary=570)
  for data, recipe in ((other_text, TINY.tokenizer), (TINY.data, other_size)):
    other = TINY.task.make_vocabulary(data, recipe)
    (path / "tokenizer.model").write_bytes(other)
    case.sees("the tokenizer is another", case.call("translate", path, "1 May 2000"))
  (path / "tokenizer.model").write_bytes(model)
  shutil.move(path / "checkpoints", case.folder / "elsewhere")
  (path / "checkpoints").symlink_to(case.folder / "elsewhere")
  case.sees("a part of the run is a link out of it", case.call("info", path))
  (path / "checkpoints").unlink()
  case.sees("the run has no checkpoint", case.call("info", path))


def test_parameters_that_are_not_finite(case):
  run = Run.open(case.run())
  params = jax.tree.map(np.array, run.params())
  params["decoder"]["layers"]["feed_forward"]["w1"][0] = np.nan
  params["embedding"]["table"][0] = np.inf
  with run.checkpoints() as checkpoints:
    checkpoints.save_params(7, params, {"tokenizer_sha256": run.vocabulary.sha256})
  answer = case.call("translate", run.path, "1 May 2000")
  case.sees("the parameters are not finite", answer)


def test_a_text_that_changed(case):
  case.write("a", "one two three\n" * 40)
  case.write("b", "eins zwei drei\n" * 40)
  recipe = ParallelText(*(str(case.folder / name) for name in "abab"))
  settings = [f"--config.data={dataclasses.replace(recipe)}"]
  settings += ["--config.tokenizer.vocabulary=280", "--config.eval_every=50"]
  assert case.train(*settings, "--config.steps=1")[0] == 0
  case.write("b", "eins drei zwei\n" * 40)
  answer = case.train(*settings, "--config.steps=2")
  case.sees("the training text changed since", answer)


def test_numbers_that_are_not_finite(case):
  base = configs.dumps(TINY)
  case.write("config.py", f"BASE = {base!r}\n{POISONED}")
  status, text = case.train("--config.max_consecutive_skips=3", "--config.save_every=1")
  text = re.sub(r"its (\d+) examples: .*", "its 9 examples: 3, 14, …", text)
  name = "a step's loss is not finite"
  case.sees(name, (status, text))
  case.sees("no loss is finite", (status, text))
  assert Run.open(case.folder / "run").steps()[-1] <= 3


def test_examples_of_a_skipped_step_are_named_and_training_continues(case):
  base = configs.dumps(TINY)
  case.write("config.py", f"BASE = {base!r}\n{POISONED}")
  flag = "--config.task=Poisoned(every=2)"
  status, text = case.train(flag)
  assert status == 0, text
  skipped = re.findall(r"step (\d+): the loss is not finite.*examples: (.*)", text)
  run = Run.open(case.folder / "run")
  kept = [step for step, loss in losses(run.path) if loss == loss]
  assert skipped and kept
  assert sorted([*kept, *(int(step) for step, _ in skipped)]) == [1, 2, 3, 4, 5, 6]
  training_data = TINY.task.training_data(
    TINY.data, run.tokenizer, TINY.batching, TINY.seed, run.cache
  )
  for step, named in skipped:
    expected = training_data.examples(int(step) - 1)[:8]
    assert named.removesuffix(", …") == ", ".join(map(str, expected))
    (_, batch), *_ = training_data.batches(int(step) - 1, int(step), all_rows)
    assert batch.source.id_bt[0].sum() % 2 == 0


def test_memory(case):
  base = configs.dumps(TINY)
  case.write("config.py", f"BASE = {base!r}\n{HUNGRY}")
  status, text = case.train()
  text = re.sub(r"a device of \S+ \S+ would", "a device of 25.3 GB would", text)
  text = re.sub(r"\d+ devices with --config.mesh='Mesh\(fsdp=\d+\)'",
                "256 devices with --config.mesh='Mesh(fsdp=256)'", text)  # fmt: skip
  text = re.sub("tokens=[0-9] or", "tokens=3 or", text)
  case.sees("the memory does not suffice", (status, text))


def test_sigterm(case, monkeypatch):
  monkeypatch.setattr(trainer, "Interrupt", Now)
  case.sees("SIGTERM", case.train(), status=143)


def test_verbs(case):
  path = case.run()
  call, folder = case.call, case.folder
  case.write("one", "1 May 2000\n")
  case.write("two", "a\nb\n")
  case.write("latin", "é\n".encode("latin-1"))
  case.sees("there is no such run", call("info", folder / "none"))
  case.sees("there is no such checkpoint", call("info", path, "--step", 5))
  answer = call("translate", path, "--input", folder / "none")
  case.sees("a file to translate is missing", answer)
  answer = call("translate", path, "--input", folder / "latin")
  case.sees("a text to translate is not UTF-8", answer)
  answer = call("translate", path, "a", "--input", folder / "one")
  case.sees("texts and a file are given at once", answer)
  answer = call("translate", path, "a", "--output", folder / "none" / "out")
  case.sees("the output cannot be written", answer)
  case.sees("the beam is empty", call("translate", path, "a", "--beam", 0))
  case.sees("the batch is empty", call("translate", path, "a", "--batch-size", 0))
  case.sees("the split is unknown", call("evaluate", path, "--split", "tset"))
  answer = call("evaluate", path, "--tokenize", "cjk")
  case.sees("scores are asked for by an unknown tokenizer", answer)
  case.write("chinese", "他在看书\n")
  texts = ("--source", folder / "one", "--reference", folder / "chinese")
  text_scores.print_once.cache_clear()
  answer = call("evaluate", path, "--max-length", 3, *texts)
  case.sees("13a is used on text without spaces", answer, status=0)
  answer = call("translate", path, "--max-length", 3, "12 March 1950 " * 60)
  case.sees("a text is far longer than in training", answer, status=0)
  answer = call("evaluate", path, "--source", folder / "one")
  case.sees("a reference is missing", answer)
  answer = call("evaluate", path, "--source", folder / "one",
                "--reference", folder / "two")  # fmt: skip
  case.sees("source and reference differ in length", answer)
  answer = call("average", path, "--last", 9)
  case.sees("there are too few checkpoints to average", answer)
  (folder / "run-averaged").mkdir()
  case.sees("the average is there already", call("average", path, "--last", 2))
  (folder / "run-averaged").rmdir()
  assert call("average", path, "--last", 2)[0] == 0
  answer = case.train("--config.steps=9", run="run-averaged")
  case.sees("an average is to be trained on", answer)


def test_numbers_and_texts_of_verbs(case, monkeypatch):
  path, call, folder = case.run(), case.call, case.folder
  (folder / "folder").mkdir()
  case.write("one", "1 May 2000\n")
  for name, words in {
    "the output is a directory": ("--output", folder / "folder"),
    "a text of the command line is not UTF-8": ("M\udce4rz",),
    "the value of a flag is not UTF-8": ("--prefix", "\udce4"),
    "more outputs are asked for than the beam has": ("--n-best", 5, "--beam", 4),
    "a beam is to be streamed": ("--stream", "--beam", 4),
    "the longest output is shorter than the shortest":
      ("--max-length", 3, "--min-length", 30),
    "a number is not finite": ("--alpha", "nan"),
    "a recipe's number is not finite": ("--penalty", "GNMT(inf)"),
    "the seed is out of range": ("--seed", -1),
    "the memory does not suffice for a search": ("--beam", 1_000_000),
  }.items():  # fmt: skip
    case.sees(name, call("translate", path, "1 May 2000", *words))
  for name, file in {
    "a file to evaluate is missing": folder / "none",
    "a file to evaluate can be read once only": "/dev/null",
  }.items():
    case.sees(name, call("evaluate", path, "--source", file, "--reference", file))
  answer = call("evaluate", path, "--output", folder / "one")
  case.sees("the place of the scores cannot be written", answer)
  monkeypatch.setattr(sys, "stdin", None)
  case.sees("standard input is closed", call("translate", path))
  monkeypatch.setattr(sys, "stdout", None)
  case.sees("standard output is closed", call("translate", path, "1 May 2000"))


def test_parts_of_another_command(case):
  path, file = case.run(), case.write("one", "1 May 2000\n")
  words = ("translate", path, "--max-length", 3, "--input", file,
           "--output", case.folder / "out")  # fmt: skip
  assert case.call(*words, "--shard", "1/2")[0] == 0
  answer = case.call(*words, "--seed", 1, "--shard", "1/2")
  case.sees("a part of another command is there", answer)
  (case.folder / "out.1-of-2.part.json").unlink()
  answer = case.call(*words, "--shard", "2/2")
  case.sees("a part is there without its command", answer)


def test_searches_and_data_of_a_run(case):
  path = case.run()
  config = Run.open(path).config
  task = dataclasses.replace(config.task, decoding=Search(beam=1))
  gone = ParallelText(*[str(case.folder / "none")] * 6)
  changed = dataclasses.replace(config, task=task, data=gone)
  case.write("run/config.json", configs.dumps(changed))
  answer = case.call("beam", path, "1 May 2000")
  case.sees("a run whose own search is greedy has no tree", answer)
  answer = case.call("heads", path)
  case.sees("heads are to be scored on data that has gone", answer)


def test_directories_of_hugging_face(case):
  call, folder = case.call, case.folder
  model, path = folder / "model", folder / "imported"
  case.sees("the directory is none", call("convert", folder / "none", path))
  write_classifier(model)
  write_marian(folder / "marian")
  assert call("convert", model, path)[0] == 0
  settings = json.loads((model / "config.json").read_text())
  case.write("model/config.json", json.dumps(settings | {"architectures": None}))
  case.sees("config.json names no class", call("convert", model, folder / "new"))
  case.write("model/config.json", json.dumps(settings))
  tensors = load_file(model / "model.safetensors")
  tensors["classifier.bias"][0] = np.inf
  save_file(tensors, model / "model.safetensors")
  case.sees("a tensor is not finite", call("convert", model, folder / "new"))
  (model / "vocab.txt").unlink()
  case.sees("the tokenizer is missing", call("convert", model, folder / "new"))
  ids = json.loads((folder / "marian" / "vocab.json").read_text())
  del ids["<pad>"]
  case.write("marian/vocab.json", json.dumps(ids))
  answer = call("convert", folder / "marian", folder / "new")
  case.sees("the vocabulary has no padding", answer)
  assert not (folder / "new").exists()

  back = ("--to", "huggingface")
  run = case.run()
  answer = call("convert", run, folder / "new", *back)
  case.sees("a run that was not imported is to be written back", answer)
  config = dataclasses.replace(Run.open(run).config, init=str(path))
  case.write("run/config.json", configs.dumps(config))
  answer = call("convert", run, folder / "new", *back)
  case.sees("a run has another tokenizer than its imported parent", answer)
  config = Run.open(path).config
  labels = (config.task.labels[0], "odd", *config.task.labels[2:])
  task = dataclasses.replace(config.task, labels=labels)
  case.write(
    "imported/config.json", configs.dumps(dataclasses.replace(config, task=task))
  )
  answer = call("convert", path, folder / "new", *back)
  case.sees("a run has other classes than the directory", answer)
  assert not (folder / "new").exists()


def test_every_row_of_the_document_is_seen_here():
  code = ast.parse(Path(__file__).read_text(encoding="utf-8"))
  words = {node.value for node in ast.walk(code) if isinstance(node, ast.Constant)}
  assert len(ROWS) >= 30
  assert set(ROWS) <= words
