"""What the verbs say of texts, files, numbers and flags."""

import dataclasses
import fcntl
import os
import subprocess
import sys

import pytest

from tests.faults.case import ROOT
from transformer import config as configs
from transformer.data.sources.parallel_text import ParallelText
from transformer.inference.search import Search
from transformer.runs.output import OutputFile
from transformer.runs.run import Run
from transformer.tasks import text_scores


def test_verbs(case):
  path = case.run()
  call, folder = case.call, case.folder
  case.write("one", "1 May 2000\n")
  case.write("two", "a\nb\n")
  case.write("latin", "é\n".encode("latin-1"))
  case.assert_sees("there is no such run", call("info", folder / "none"))
  case.assert_sees("there is no such checkpoint", call("info", path, "--step", 5))
  answer = call("translate", path, "--input", folder / "none")
  case.assert_sees("a file to translate is missing", answer)
  answer = call("translate", path, "--input", folder / "latin")
  case.assert_sees("a text to translate is not UTF-8", answer)
  answer = call("translate", path, "a", "--input", folder / "one")
  case.assert_sees("texts and a file are given at once", answer)
  answer = call("translate", path, "a", "--output", folder / "none" / "out")
  case.assert_sees("the output cannot be written", answer)
  case.assert_sees("the beam is empty", call("translate", path, "a", "--beam", 0))
  case.assert_sees(
    "the batch is empty", call("translate", path, "a", "--batch-size", 0)
  )
  case.assert_sees("the split is unknown", call("evaluate", path, "--split", "tset"))
  answer = call("evaluate", path, "--tokenize", "cjk")
  case.assert_sees("scores are asked for by an unknown tokenizer", answer)
  case.write("chinese", "他在看书\n")
  texts = ("--source", folder / "one", "--reference", folder / "chinese")
  text_scores.print_once.cache_clear()
  answer = call("evaluate", path, "--max-length", 3, *texts)
  case.assert_sees("13a is used on text without spaces", answer, status=0)
  answer = call("translate", path, "--max-length", 3, "12 March 1950 " * 60)
  case.assert_sees("a text is far longer than in training", answer, status=0)
  answer = call("evaluate", path, "--source", folder / "one")
  case.assert_sees("a reference is missing", answer)
  answer = call("evaluate", path, "--source", folder / "one",
                "--reference", folder / "two")  # fmt: skip
  case.assert_sees("source and reference differ in length", answer)
  case.write("empty", "")
  empty = ("--source", folder / "empty", "--reference", folder / "empty")
  case.assert_sees("the files to evaluate are empty", call("evaluate", path, *empty))
  answer = call("average", path, "--last", 9)
  case.assert_sees("there are too few checkpoints to average", answer)
  (folder / "run-averaged").mkdir()
  case.assert_sees("the average is there already", call("average", path, "--last", 2))
  (folder / "run-averaged").rmdir()
  assert call("average", path, "--last", 2)[0] == 0
  answer = case.train("--config.steps=9", run="run-averaged")
  case.assert_sees("an average is to be trained on", answer)


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
    "a recipe's number is zero in float32": ("--penalty", "Coverage(1e-320)"),
    "a penalty would overflow": ("--alpha", "1e38"),
    "the seed is out of range": ("--seed", -1),
    "a seed is given and nothing is sampled": ("--seed", 1),
    "the memory does not suffice for a search": ("--beam", 1_000_000),
  }.items():  # fmt: skip
    case.assert_sees(name, call("translate", path, "1 May 2000", *words))
  for name, file in {
    "a file to evaluate is missing": folder / "none",
    "a file to evaluate can be read once only": "/dev/null",
  }.items():
    case.assert_sees(
      name, call("evaluate", path, "--source", file, "--reference", file)
    )
  answer = call("evaluate", path, "--output", folder / "one")
  case.assert_sees("the place of the scores cannot be written", answer)
  monkeypatch.setattr(sys, "stdin", None)
  case.assert_sees("standard input is closed", call("translate", path))
  monkeypatch.setattr(sys, "stdout", None)
  case.assert_sees("standard output is closed", call("translate", path, "1 May 2000"))


@pytest.mark.parametrize("name, words", {
  "the value of a flag is of the wrong kind": ("translate", "run", "--seed", "nan"),
  "the value of a flag is not one of its choices":
    ("translate", "run", "--weights", "int4"),
  "a path is empty": ("attend", "run", "x", "--output", ""),
  "a flag of a verb is misspelt": ("info", "run", "--bea"),
}.items())  # fmt: skip
def test_wrong_command_lines(case, name, words):
  answer = case.call(*words)
  case.assert_sees(name, answer, status=2)
  assert answer[1].count("\n") == 1


def test_flags_that_exclude_each_other(case):
  file, config = case.write("one", "1 May 2000\n"), case.folder / "config.py"
  texts = ("--source", file, "--reference", file)
  for name, words in {
    "files and a split are given at once":
      ("evaluate", case.run(), *texts, "--split", "val"),
    "a name is empty": ("evaluate", case.folder / "run", "--name", ""),
    "a figure's flag is given for a page":
      ("attend", case.folder / "run", "1 May 2000", "--layer", 1),
    "a name is given for records": ("compare", file, file, "--name", "val"),
    "the mesh is given twice":
      ("plan", config, "--mesh", "Mesh(fsdp=2)", "--config.mesh.fsdp=4"),
  }.items():  # fmt: skip
    case.assert_sees(name, case.call(*words))
  answer = case.train(
    "--distributed", "--coordinator=localhost:1", "--processes=1", "--process=0"
  )
  case.assert_sees("the processes are found and given at once", answer)


def test_full_standard_output(case):
  verb = [sys.executable, "-m", "transformer.cli", "translate", "--help"]
  for unbuffered in ("", "1"):
    with open("/dev/full", "w") as full:
      done = subprocess.run(
        verb, stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
      )  # fmt: skip
    case.assert_sees("standard output is full", (done.returncode, done.stderr))


def test_two_jobs_of_one_output(case):
  words = ("translate", case.run(), "1 May 2000", "--output", case.folder / "out")
  with OutputFile(case.folder / "out"):
    case.assert_sees("two jobs write one output", case.call(*words))


def test_parts_of_another_command(case):
  path, file = case.run(), case.write("one", "1 May 2000\n")
  words = ("translate", path, "--max-length", 3, "--input", file,
           "--output", case.folder / "out")  # fmt: skip
  assert case.call(*words, "--shard", "1/2")[0] == 0
  answer = case.call(*words, "--prefix", "1", "--shard", "1/2")
  case.assert_sees("a part of another command is there", answer)
  (case.folder / "out.1-of-2.part.json").unlink()
  answer = case.call(*words, "--shard", "2/2")
  case.assert_sees("a part is there without its command", answer)
  words = (*words[:-1], "/dev/null", "--shard", "1/2")
  case.assert_sees("parts are to be written to a device", case.call(*words))


def test_parts_that_cannot_be_finished(case):
  path, file = case.run(), case.write("one", "1 May 2000\n")
  words = ("translate", path, "--max-length", 3, "--input", file,
           "--output", case.folder / "out", "--shard", "1/1")  # fmt: skip
  answer = case.call(*words, "--stream")
  case.assert_sees("a part is to be streamed", answer)
  assert case.call(*words)[0] == 0
  part = case.folder / "out.1-of-1.part"
  (case.folder / "out.1-of-1").rename(part)
  with part.open("ab") as held:
    fcntl.flock(held, fcntl.LOCK_EX)
    case.assert_sees("two jobs write one part", case.call(*words))
    held.write(b"a line\n")
  case.assert_sees("a part has other lines as well", case.call(*words))


def test_searches_and_data_of_a_run(case):
  path = case.run()
  config = Run.open(path).config
  task = dataclasses.replace(config.task, decoding=Search(beam=1))
  gone = ParallelText(*[str(case.folder / "none")] * 6)
  changed = dataclasses.replace(config, task=task, data=gone)
  case.write("run/config.json", configs.dumps(changed))
  answer = case.call("beam", path, "1 May 2000")
  case.assert_sees("a run whose own search is greedy has no tree", answer)
  answer = case.call("heads", path)
  case.assert_sees("heads are to be scored on data that has gone", answer)
