"""Random Unicode in: as many lines out, and no error."""

import collections
import dataclasses
import random
import sys
import unicodedata

import pytest

from tests.tiny import TINY
from transformer.data.sources.parallel_text import ParallelText
from transformer.data.text import is_blank
from transformer.data.tokenizers.sentence_piece import SentencePiece
from transformer.runs import trainer
from transformer.runs.run import Run

CATEGORIES = collections.defaultdict(list)
for character in map(chr, range(sys.maxunicode + 1)):
  if character != "\n":
    CATEGORIES[unicodedata.category(character)].append(character)

GREEDY = ("--beam", 1, "--extra", 0, "--max-length", 3)


def random_line(
  draw: random.Random, surrogates: bool = False, characters=CATEGORIES
) -> str:
  """A line of up to six characters, as often of one category as of another; every
  fourth has no visible character, as far as the category tells."""
  hidden = draw.random() < 0.25
  names = ("Zs", "Zl", "Zp", "Cc", "Cf") if hidden else tuple(characters)
  names = [name for name in names if surrogates or name != "Cs"]
  size = draw.randint(0, 6)
  return "".join(draw.choice(characters[draw.choice(names)]) for _ in range(size))


@pytest.mark.parametrize("count", [150, pytest.param(10_000, marks=pytest.mark.slow)])
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


def test_a_run_is_trained_on_random_text(tmp_path, capsys):
  draw = random.Random(1)
  # A vocabulary has all the characters of its text.
  few = {name: draw.choices(found, k=3) for name, found in CATEGORIES.items()}
  texts = [random_line(draw, characters=few) for _ in range(800)]
  files = []
  for name, lines in (("a", texts), ("b", texts[::-1])):
    (tmp_path / name).write_bytes("".join(f"{line}\n" for line in lines).encode())
    files.append(str(tmp_path / name))
  config = dataclasses.replace(
    TINY,
    data=ParallelText(*files),
    tokenizer=SentencePiece(vocabulary=420),
    steps=1,
    eval_every=1,
    save_every=1,
  )
  assert trainer.train(config, tmp_path / "run") == 0
  assert Run.open(tmp_path / "run").steps() == [1]
  held_out = len(texts) // 20
  pairs = list(zip(texts, texts[::-1], strict=True))[: -2 * held_out]
  left_out = sum(is_blank(a) or is_blank(b) for a, b in pairs)
  assert f"{left_out} pairs left out" in capsys.readouterr().err
