"""What `python train.py` says of settings, configs, texts, images and numbers."""

import re
import sys
import warnings

import numpy as np
import PIL.Image
import pytest

from tests.faults.case import ROOT
from tests.tiny import TINY
from tests.tiny_run import losses
from transformer import config as configs
from transformer.data.pipeline import all_rows
from transformer.data.sources import image_folder
from transformer.data.sources.parallel_text import ParallelText
from transformer.printing import print_once
from transformer.runs.run import Run

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


IMAGES = {
  "a file is no image": b"not an image",
  "an image has no fixed white": [np.ones((9, 9), np.float32)],
  "an image has several frames": [np.zeros((9, 9), np.uint8)] * 2,
}


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
  (
    "text is to be divided several times, but not at random",
    "--config.tokenizer.copies=4",
  ),
  ("heads do not divide the width", "--config.model.heads=3"),
  ("the mesh does not fit the devices", "--config.mesh=Mesh(data=3)"),
  ("the score to go by is unknown", "--config.metric=belu"),
  ("a decay is out of range", "--config.ema=1"),
  ("BLEU's tokenizer is unknown", "--config.task.tokenize=cjk"),
  ("BLEU's tokenizer is not installed", "--config.task.tokenize=ja-mecab"),
  ("a setting is not finite", "--config.ema=nan"),
  ("a setting is no number of float32", "--config.optimizer.decay=1e300"),
  ("a setting has no meaning", "--config.schedule.rate=-1"),
  ("nothing would be kept", "--config.keep.latest=0"),
  ("a batch cannot hold one row", "--config.batching.tokens=32"),
  ("rows would have no slots", "--config.batching=Grouped(lengths=(0, 8))"),
  (
    "the vocabulary is too large for the text",
    "--config.tokenizer.vocabulary=90000",
  ),
  (
    "the vocabulary is too small for the text",
    "--config.tokenizer.vocabulary=40",
  ),
  ("a word is not a setting", "steps=3"),
  ("a flag of train.py is misspelt", "--workdi=run"),
  ("a flag of train.py is of the wrong kind", "--processes=two"),
  ("a flag of train.py is empty", "--workdir="),
  ("only some of the processes' flags are given", "--processes=2"),
]


@pytest.mark.parametrize("name, flag", SETTINGS)
def test_settings(case, name, flag, monkeypatch):
  monkeypatch.setitem(sys.modules, "MeCab", None)
  case.assert_sees(name, case.train(flag))
  assert not (case.folder / "run").exists()


@pytest.mark.slow
def test_a_run_to_start_from(case):
  init = f"--config.init={case.run()}"
  answer = case.train(f"--config.init={case.folder / 'none'}", run="new")
  case.assert_sees("the run to start from is not a run", answer)
  answer = case.train(
    init, "--config.model=RNNSeq2Seq(layers=1, d_model=20)", run="new"
  )
  case.assert_sees("the run to start from has nothing of this model", answer)
  answer = case.train(init, "--config.model.d_ff=32", "--config.steps=1", run="wider")
  case.assert_sees("a run starts from one of other sizes", answer, status=0)
  answer = case.train("--config.freeze=('encodr',)", run="new")
  case.assert_sees("what is to be frozen is misspelt", answer)
  answer = case.train("--config.freeze=('encoder', 'decoder', 'embedding')", run="new")
  case.assert_sees("all is to be frozen", answer)
  assert not (case.folder / "new").exists()


def test_config_files(case):
  case.assert_sees("the config file is missing", case.train(config="none.py"))
  case.write("broken.py", "def get_config(:\n")
  case.assert_sees("the config file is not Python", case.train(config="broken.py"))
  case.write("empty.py", "def get_config():\n  return {}\n")
  case.assert_sees("the config file returns no config", case.train(config="empty.py"))


def test_texts(case):
  def data(source, target):
    recipe = ParallelText(str(case.folder / source), str(case.folder / target))
    return f"--config.data={recipe}"

  case.write("a", "one\ntwo\n")
  case.write("b", "eins\n")
  case.write("latin", "Übung\nzwei\n".encode("latin-1"))
  case.write("empty", "")
  case.write("a.gz", "one\ntwo\n")
  case.assert_sees(
    "a training file is gzip by name alone", case.train(data("a.gz", "b"))
  )
  case.assert_sees("a training file is missing", case.train(data("none", "b")))
  answer = case.train(data("a", "b"))
  case.assert_sees("the two sides differ in length", answer)
  assert "made from the training data" not in answer[1]
  case.assert_sees("a training file is not UTF-8", case.train(data("a", "latin")))
  case.assert_sees("a training file is empty", case.train(data("empty", "empty")))
  assert not (case.folder / "run").exists()
  answer = case.train("--config.batching=Packed(tokens=64, length=2)")
  case.assert_sees("no example fits into a batch", answer)
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
  case.assert_sees("there is nothing to evaluate on", answer)


def test_a_tokenizer_for_another_task(case):
  answer = case.train(
    "--config.tokenizer.bpe_dropout=0.1", config=ROOT / "configs" / "language_model.py"
  )
  case.assert_sees("text would be divided at random for another task", answer)


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
  case.assert_sees(name, case.train(*settings, config=ROOT / "configs" / "vit.py"))


def test_directories_of_images(case):
  for folder in ("train/cat", "train/dog", "val/cat", "val/Dog"):
    (case.folder / "pictures" / folder).mkdir(parents=True)
    PIL.Image.new("L", (9, 11)).save(case.folder / "pictures" / folder / "a.png")
  setting = f"--config.data=ImageFolder({str(case.folder / 'pictures')!r})"
  answer = case.train(setting, config=ROOT / "configs" / "vit.py")
  case.assert_sees("a held-out directory of images is no class", answer)


EXIF = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01"
"""Its only tag ends too early."""


@pytest.mark.parametrize("name, pixels", {
  "an image is far too large": 49, "an image is large": 50,
  "an image has damaged EXIF data": 10**6,
}.items())  # fmt: skip
def test_images_that_pillow_warns_of(case, name, pixels, monkeypatch):
  monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", pixels)
  files = [case.folder / f"{i}.jpeg" for i in range(2)]
  for file in files:
    PIL.Image.new("L", (9, 11)).save(file, exif=EXIF if pixels > 99 else b"")
  print_once.cache_clear()
  try:
    with warnings.catch_warnings():
      warnings.simplefilter("error")
      for file in files * 2:
        assert image_folder.read_image(file).shape == (11, 9, 1)
    answer = 0, "".join(case.printed())
    assert answer[1].count("\n") == 2
  except ValueError as error:
    answer = 0, f"error: {error}"
  status, text = answer
  text = text.replace("than 98 ", "than 178,956,970 ").replace("50 p", "89,478,485 p")
  case.assert_sees(name, (status, text), status=0)


@pytest.mark.slow
def test_early_stopping(case):
  settings = ("--config.patience=1", "--config.eval_every=1")
  learned = "--config.model.position=Learned(40)"
  answer = case.train(*settings, learned, "--config.schedule=Schedule(rate=0.0)")
  case.assert_sees("no evaluation is better any more", answer, status=0)
  case.assert_sees("the table of positions is shorter than the texts", answer, status=0)


@pytest.mark.slow
def test_a_schedule_that_follows_the_steps(case):
  cosine = "--config.schedule=Cosine(warmup=1)"
  assert case.train(cosine)[0] == 0
  answer = case.train(cosine, "--config.steps=9")
  case.assert_sees("the schedule would change on resume", answer)
  assert case.train(cosine, "--config.steps=9", "--config.schedule.steps=6")[0] == 0


def test_numbers_that_are_not_finite(case):
  base = configs.dumps(TINY)
  case.write("config.py", f"BASE = {base!r}\n{POISONED}")
  status, text = case.train("--config.max_consecutive_skips=3", "--config.save_every=1")
  text = re.sub(r"its (\d+) examples: .*", "its 9 examples: 3, 14, …", text)
  name = "a step's loss is not finite"
  case.assert_sees(name, (status, text))
  case.assert_sees("no loss is finite", (status, text))
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
  case.assert_sees("the memory does not suffice", (status, text))
