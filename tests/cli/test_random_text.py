"""Random Unicode in: as many lines out, and no error."""

import collections
import dataclasses
import math
import random
import re
import sys
import unicodedata

import pytest

from tests.tiny import TINY
from transformer.data.sources.parallel_text import ParallelText
from transformer.data.text import blank_to_empty, is_blank
from transformer.data.tokenizers.sentence_piece import SentencePiece
from transformer.inference.search import Search
from transformer.runs import trainer
from transformer.runs.metrics import Metrics
from transformer.runs.run import Run
from transformer.tasks.translation import Translation

CATEGORIES = collections.defaultdict(list)
for character in map(chr, range(sys.maxunicode + 1)):
  if character != "\n":
    CATEGORIES[unicodedata.category(character)].append(character)

GREEDY = ("--beam", 1, "--extra", 0, "--max-length", 3)


def random_line(draw: random.Random, surrogates: bool = False) -> str:
  """A line of up to six characters, as often of one category as of another; every
  fourth has no visible character, as far as the category tells."""
  hidden = draw.random() < 0.25
  names = ("Zs", "Zl", "Zp", "Cc", "Cf") if hidden else tuple(CATEGORIES)
  names = [name for name in names if surrogates or name != "Cs"]
  size = draw.randint(0, 6)
  return "".join(draw.choice(CATEGORIES[draw.choice(names)]) for _ in range(size))


@pytest.mark.parametrize("count", [150, pytest.param(3_000, marks=pytest.mark.slow)])
def test_as_many_lines_out_as_in(translation_run_copy, call, tmp_path, count):
  run, draw = translation_run_copy, random.Random(count)
  texts = [random_line(draw) for _ in range(count)]
  # A carriage return before a line feed is part of the line's end.
  blank = [is_blank(text) for text in texts]
  assert 0.25 < sum(blank) / count < 0.6
  source, reference = tmp_path / "source", tmp_path / "reference"
  source.write_bytes("".join(f"{text}\n" for text in texts).encode())
  reference.write_bytes("".join(f"{text}\n" for text in reversed(texts)).encode())
  output = tmp_path / "output"
  words = ("--input", source, "--output", output)
  status, _, err = call("translate", run, *GREEDY, *words)
  assert status == 0, err
  lines = output.read_bytes().decode().split("\n")
  assert len(lines) == count + 1 and lines[-1] == ""
  assert all(not line for line, empty in zip(lines, blank, strict=False) if empty)
  assert any(lines)
  files = ("--source", source, "--reference", reference)
  status, _, err = call("score", run, *files, "--output", output)
  assert status == 0, err
  rows = [line.split("\t") for line in output.read_text().splitlines()]
  # The end of the text alone.
  assert [row[2] == "1" for row in rows] == blank[::-1]
  status, _, err = call("evaluate", run, *GREEDY, *files)
  assert status == 0, err
  stored = list((run / "evaluations").glob("*.txt"))
  assert len(stored) == 3  # sources, outputs and references
  assert all(path.read_bytes().count(b"\n") == count for path in stored)


def test_a_lone_surrogate_is_one_line(translation_run, call, tmp_path):
  draw = random.Random(0)
  texts = [random_line(draw, surrogates=True) for _ in range(300)]
  data = [text.encode("utf-8", "surrogatepass") for text in texts]
  (tmp_path / "in").write_bytes(b"\n".join(data))
  first = next(i for i, text in enumerate(texts, 1) if any("\ud800" <= c <= "\udfff"
               for c in text))  # fmt: skip
  words = ("translate", translation_run, *GREEDY, "--input", tmp_path / "in")
  status, _, err = call(*words, "--output", tmp_path / "out")
  assert status == 1 and err.count("\n") == 1
  assert err.startswith(f"error: {tmp_path}/in: line {first}: invalid UTF-8 (byte ")
  assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_run_is_trained_on_random_text(tmp_path, capsys):
  draw = random.Random(1)
  texts = [random_line(draw) for _ in range(10_000)]
  config = dataclasses.replace(
    TINY,
    data=corpus(tmp_path, texts),
    # It has every character of the text.
    tokenizer=SentencePiece(vocabulary=9000),
    task=Translation(search=Search(beam=1, extra=0, max_length=3)),
    steps=30,
    eval_every=30,
    save_every=30,
  )
  assert trainer.train(config, tmp_path / "run") == 0
  run = Run.open(tmp_path / "run")
  assert run.steps() == [30]
  losses = [value for _, name, value in Metrics.read(run.path) if name == "train/loss"]
  assert losses[-1] < losses[0] and all(map(math.isfinite, losses))
  held_out = len(texts) // 20
  pairs = list(zip(texts, texts[::-1], strict=True))[: -2 * held_out]
  left_out = sum(is_blank(a) or is_blank(b) for a, b in pairs)
  assert f"{left_out:,} pairs left out" in capsys.readouterr().err
  # Nothing is unknown: what the run reads is what was written, but for spaces.
  decoded = run.tokenizer.decode(run.tokenizer.encode(texts))
  expected = map(blank_to_empty, texts)
  assert [re.sub(" +", " ", text).strip(" ") for text in decoded] == [
    re.sub(" +", " ", text).strip(" ") for text in expected
  ]


def test_a_training_text_with_a_lone_surrogate_is_refused_by_line(tmp_path):
  draw = random.Random(2)
  texts = [random_line(draw, surrogates=True) for _ in range(10_000)]
  first = next(i for i, text in enumerate(texts, 1) if any("\ud800" <= c <= "\udfff"
               for c in text))  # fmt: skip
  config = dataclasses.replace(TINY, data=corpus(tmp_path, texts))
  with pytest.raises(ValueError, match=f"/a: line {first}: invalid UTF-8") as found:
    trainer.train(config, tmp_path / "run")
  assert "\n" not in str(found.value) and not (tmp_path / "run").exists()


def corpus(folder, texts) -> ParallelText:
  """Pairs of the texts and the same in reverse order, in files `a` and `b`."""
  files = []
  for name, lines in (("a", texts), ("b", texts[::-1])):
    data = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass")
    (folder / name).write_bytes(data)
    files.append(str(folder / name))
  return ParallelText(*files)
