"""Score by length, on runs that have learnt next to nothing."""

import csv
import dataclasses
import itertools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from tests.models.test_family import small
from tests.tiny import TINY
from tests.tiny_run import train
from transformer.data.sources.dates import Dates
from transformer.inference.search import Search
from transformer.models.rnn import RNNSeq2Seq
from transformer.runs.translator import Translator
from transformer.studies.compare_runs import names, write
from transformer.studies.score_by_length import bins, main
from transformer.tasks.text_scores import text_scores

SHORT = dict(steps=1, eval_every=1, save_every=1)


def test_bins_are_a_partition_by_length():
  sizes = np.array([5, 9, 5, 7, 30, 7, 5, 8])
  groups = bins(sizes, 3)
  assert sorted(np.concatenate(groups).tolist()) == list(range(8))
  assert 2 <= len(groups) <= 3
  for left, right in itertools.pairwise(groups):
    assert sizes[left].max() < sizes[right].min()
  assert [g.tolist() for g in bins(np.array([4, 4, 4]), 3)] == [[0, 1, 2]]


@pytest.mark.slow
def test_each_group_has_the_scores_of_its_own_texts(tmp_path, capsys):
  data = dataclasses.replace(TINY.data, several=3)
  assert train(tmp_path / "one", data=data, **SHORT) == 0
  assert train(tmp_path / "two", data=data, model=small(RNNSeq2Seq), **SHORT) == 0
  runs = [str(tmp_path / name) for name in ("one", "two")]
  capsys.readouterr()
  assert main([*runs, "--output", str(tmp_path / "found"), "--bins", "3"]) == 0
  assert capsys.readouterr().out.count("\n") > 3
  assert (tmp_path / "found.png").stat().st_size > 0
  with (tmp_path / "found.csv").open() as file:
    rows = list(csv.DictReader(file))
  assert {row["run"] for row in rows} == {"one", "two"}
  assert sum(int(row["sentences"]) for row in rows) == 2 * data.held_out
  translator = Translator.open(runs[1], Search(beam=1))
  pairs = list(data.open("test"))
  size = [
    len(ids) for ids in translator.run.tokenizer.encode([p.source for p in pairs])
  ]
  row = [row for row in rows if row["run"] == "two"][-1]
  own = [p for p, n in zip(pairs, size, strict=True) if n >= int(row["shortest"])]
  outputs = translator.translate([p.source for p in own])
  scores = text_scores(outputs, [p.target for p in own])
  assert float(row["chrf"]) == pytest.approx(scores["chrf"])


def test_runs_are_told_apart_by_the_ends_of_their_paths():
  paths = [Path("x/a/seed-0"), Path("x/b/seed-0")]
  assert names(paths) == ["a/seed-0", "b/seed-0"]
  assert names([*paths[:1], Path("x/a/seed-1")]) == ["seed-0", "seed-1"]
  assert names([Path("a"), Path("b/a")]) == ["a", "b/a"]


def test_what_is_no_run_gets_one_line(tmp_path, capsys):
  assert main([str(tmp_path / "none")]) == 1
  err = capsys.readouterr().err
  assert "not a run" in err and err.count("\n") == 1


def test_a_run_that_does_not_translate_gets_one_line(language_run, tmp_path, capsys):
  assert main([str(language_run), "--output", str(tmp_path / "o")]) == 1
  err = capsys.readouterr().err
  assert "expected the task Translation, got LanguageModelling" in err


class Measured(NamedTuple):
  run: str
  score: float


def test_files_have_the_whole_name_of_the_output(tmp_path, capsys):
  """And the table is there, and printed, where the figure cannot be drawn."""
  rows = [Measured("a", 0.5)]

  def draw(file, rows):
    assert file == tmp_path / "beam.0.6.png"
    raise ValueError("nothing to draw")

  assert write(tmp_path / "beam.0.6", lambda: rows, draw, str) == 1
  assert (tmp_path / "beam.0.6.csv").read_text() == "run,score\na,0.5\n"
  found = capsys.readouterr()
  assert found.out == f"{rows[0]}\n" and found.err == "error: nothing to draw\n"


def test_a_missing_directory_is_found_before_measuring(tmp_path, capsys):
  assert write(tmp_path / "none" / "o", pytest.fail, pytest.fail, str) == 1
  assert "o.csv: cannot be written (No such file" in capsys.readouterr().err


def test_several_dates_are_each_a_date_of_the_split():
  one, several = (Dates(several=n).open("val") for n in (1, 4))
  single = {one[i].target for i in range(len(one))}
  counts = set()
  for i in range(60):
    dates = several[i].target.split(" ")
    assert len(several[i].source.split(" ; ")) == len(dates)
    counts.add(len(dates))
    for date in dates:
      assert len(date) == 10
  assert counts == {1, 2, 3, 4}
  # The calendar is divided as before: what is held out stays held out.
  train = Dates(several=4).open("train")
  seen = {date for i in range(2000) for date in train[i].target.split(" ")}
  assert not seen & single
