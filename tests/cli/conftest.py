"""What the tests of the verbs share: one small finished run, and a way to call them."""

import random

import pytest

from transformer import cli
from transformer.data.batching import Packed
from transformer.data.sources.parallel_text import ParallelText
from transformer.data.tokenizers.sentence_piece import SentencePiece
from transformer.experiment import Config
from transformer.inference.search import Search
from transformer.models.transformer import Transformer
from transformer.runs import trainer
from transformer.tasks.translation import Translation
from transformer.training.schedules import Schedule

SEARCH = ("--beam", 2, "--extra", 2)
"""The search of the run's own evaluations, whose programs are then compiled already."""


def dates(seed: int, count: int) -> tuple[list[str], list[str]]:
  """Dates such as 12.05.2001 and 2001-05-12: all as long, so of one batch shape."""
  draw = random.Random(seed)
  days = [
    (draw.randint(1900, 2099), draw.randint(1, 12), draw.randint(1, 28))
    for _ in range(count)
  ]
  sources = [f"{day:02}.{month:02}.{year}" for year, month, day in days]
  return sources, [f"{year}-{month:02}-{day:02}" for year, month, day in days]


@pytest.fixture(scope="session")
def run(tmp_path_factory):
  """A run that writes parts of dates; not to be changed, but for its evaluations."""
  folder = tmp_path_factory.mktemp("cli")
  files = []
  for seed, (name, count) in enumerate((("train", 200), ("val", 6), ("test", 6))):
    for side, texts in zip("ab", dates(seed, count), strict=True):
      files.append(str(folder / f"{name}.{side}"))
      (folder / f"{name}.{side}").write_text("".join(f"{text}\n" for text in texts))
  config = Config(
    data=ParallelText(*files),
    model=Transformer(layers=1, d_model=16, d_ff=24, heads=2),
    task=Translation(search=Search(beam=2, extra=2)),
    tokenizer=SentencePiece(vocabulary=280),
    batching=Packed(tokens=192, length=64),
    schedule=Schedule(3e-3),
    steps=120,
    eval_every=120,
    save_every=40,
  )
  assert trainer.train(config, folder / "run") == 0
  return folder / "run"


@pytest.fixture(scope="session")
def lines():
  """Six texts of the run's test split."""
  return dates(2, 6)[0]


@pytest.fixture
def call(capsys):
  """Calls the command; returns its status, standard output and standard error."""

  def call_command(*words):
    capsys.readouterr()
    status = cli.main([str(word) for word in words])
    return status, *capsys.readouterr()

  return call_command
