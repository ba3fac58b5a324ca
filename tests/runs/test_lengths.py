"""Texts beyond those of training are warned of once, in one line."""

import dataclasses

import numpy as np
import pytest

from tests.models.test_family import small
from tests.runs.random_run import random_run
from tests.tiny import TINY
from transformer.inference.search import Search
from transformer.layers.positions import Axial, Learned, Position, Rope
from transformer.models.conv_seq2seq import ConvSeq2Seq
from transformer.models.rnn_search import RNNSearch
from transformer.runs.lengths import LengthWarning, position_notes
from transformer.runs.translator import Translator


def config_of(position: Position):
  model = dataclasses.replace(TINY.model, position=position)
  return dataclasses.replace(TINY, model=model)


@pytest.mark.parametrize(
  "position, limit, reason",
  [
    (Rope(), 128, "in training none had more than 64"),
    (Learned(1024), 64, "in training none had more than 64"),
    (Learned(40), 40, "the model has vectors for 40 positions alone"),
    (Axial(5, 7), 35, "the model has vectors for 35 positions alone"),
  ],
)
def test_the_limit_is_that_of_training_or_of_the_table(capsys, position, limit, reason):
  warning = LengthWarning(config_of(position))
  short, long = np.zeros(limit, np.int32), np.zeros(limit + 1, np.int32)
  warning.check([])
  warning.check([short, short])
  assert capsys.readouterr().err == ""
  warning.check([short, long])
  warning.check([long])
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith(f"warning: a text has {limit + 1} tokens, but {reason};")


def test_training_says_that_its_table_is_short():
  (note,) = position_notes(config_of(Learned(40)))
  assert "may have 64 tokens (--config.batching), but the model has vectors" in note
  assert position_notes(config_of(Learned(64))) == []
  assert position_notes(config_of(Rope())) == []
  for kind, notes in ((ConvSeq2Seq, 1), (RNNSearch, 0)):
    model = small(kind)
    if kind is ConvSeq2Seq:
      model = dataclasses.replace(model, positions=40)
    found = position_notes(dataclasses.replace(TINY, model=model))
    assert len(found) == notes, kind


def test_whatever_reads_a_text_warns(tmp_path, capsys):
  run = random_run(tmp_path / "run").path
  long = "12 March 1950 " * 60
  opened = Translator.open(run, Search(beam=1, extra=0, max_length=3))
  capsys.readouterr()
  for use in (
    lambda t: t.translate([long, "1"]),
    lambda t: list(t.stream(long)),
    lambda t: t.score(["1"], [long]),
  ):
    use(Translator(opened.run, opened.searcher))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: a text has ")
  opened.translate(["1"])
  assert capsys.readouterr().err == ""
