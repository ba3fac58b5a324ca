"""`transformer translate` and `transformer score`: order, formats, files."""

import ast
import io
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import SEARCH
from transformer import cli
from transformer.cli import lines as line_files
from transformer.decoding.rerank import mbr
from transformer.inference.search import Search, Searcher
from transformer.runs.run import Run

ROOT = Path(__file__).resolve().parents[2]


def redirect_stdin(monkeypatch, data: bytes):
  stdin = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8")
  monkeypatch.setattr(sys, "stdin", stdin)


def test_each_text_is_translated_in_place(run, lines, call):
  a, b, c = lines[:3]
  status, out, err = call("translate", run, *SEARCH, a, "", b, " ", c)
  assert status == 0 and err == ""
  rows = out.split("\n")
  assert len(rows) == 6 and rows[1] == rows[3] == rows[5] == ""
  assert all(rows[:5:2]) and len(set(rows[:5:2])) > 1
  alone = [call("translate", run, *SEARCH, text)[1] for text in (a, b, c)]
  assert [f"{row}\n" for row in rows[:5:2]] == alone


def test_standard_input_and_files_are_read_alike(
  run, lines, call, monkeypatch, tmp_path
):
  # A separator that is not a line feed is part of its line; the last line needs none.
  texts = [f"{lines[0]}\u2028\x0b.", lines[1], "", *lines[2:]]
  data = "\n".join(texts).encode()
  redirect_stdin(monkeypatch, data)
  status, out, _ = call("translate", run, *SEARCH)
  assert status == 0
  (tmp_path / "in").write_bytes(data)
  files = ["--input", tmp_path / "in", "--output", tmp_path / "out"]
  status, nothing, _ = call("translate", run, *SEARCH, *files)
  assert status == 0 and nothing == ""
  assert (tmp_path / "out").read_text() == out
  assert out.count("\n") == len(texts) and out.split("\n")[2] == ""


def test_text_that_is_not_utf_8_leaves_no_file(run, call, tmp_path):
  (tmp_path / "in").write_bytes(b"12 May 2001\n12 M\xe4rz 2001\n")
  files = ["--input", tmp_path / "in", "--output", tmp_path / "out"]
  status, _, err = call("translate", run, *SEARCH, *files)
  assert status == 1 and err.count("\n") == 1
  assert "line 2: invalid UTF-8 (byte 5 of the line is 0xe4)" in err
  assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_scores_n_best_and_json_agree(run, lines, call):
  texts = [lines[0], "", lines[1]]
  _, plain, _ = call("translate", run, *SEARCH, *texts)
  best = [*SEARCH, "--n-best", 2]
  _, out, _ = call("translate", run, *best, "--scores", *texts)
  rows = [row.split("\t") for row in out.splitlines()]
  assert [row[0] for row in rows] == list("11233")
  firsts = {row[0]: row[2] for row in reversed(rows)}
  assert [firsts[number] for number in "123"] == plain.splitlines()
  assert ["2", "", ""] in rows
  _, out, _ = call("translate", run, *best, "--json", *texts)
  objects = [json.loads(line) for line in out.splitlines()]
  assert [each["source"] for each in objects] == texts
  assert objects[1]["hypotheses"] == []
  again = [
    [str(i), f"{hypothesis['score']:.6f}", hypothesis["text"]]
    for i, each in enumerate(objects, 1)
    for hypothesis in each["hypotheses"]
  ]
  assert again == [row for row in rows if row[0] != "2"]
  first = objects[0]["hypotheses"][0]
  assert len(first["tokens"]) == len(first["token_logprobs"])


def test_streams_and_samples_are_whole_lines(run, lines, call):
  sample = ["--sample", "TopK(5)", "--min-length", 2, "--extra", 2, "--seed"]
  texts = lines[:3]
  _, sampled, _ = call("translate", run, *sample, 3, *texts)
  _, streamed, _ = call("translate", run, *sample, 3, "--stream", *texts)
  assert streamed == sampled and sampled.count("\n") == 3
  assert call("translate", run, *sample, 4, *texts)[1] != sampled
  _, many, _ = call("translate", run, *sample, 3, "--n-best", 4, *texts)
  candidates = [row.partition("\t")[2] for row in many.splitlines()]
  assert len(set(candidates)) > 3
  _, out, _ = call("translate", run, *sample, 3, "--mbr", 4, *texts)
  assert out.splitlines() == [
    candidates[start + mbr(candidates[start : start + 4])] for start in (0, 4, 8)
  ]


def test_prefix_and_suppressed_pieces_reach_the_search(run, lines, call):
  texts = lines[:3]
  _, out, _ = call("translate", run, *SEARCH, "--prefix", "1999-", *texts)
  assert all(line.startswith("1999-") for line in out.splitlines())

  def pieces(*flags):
    _, out, _ = call("translate", run, *SEARCH, "--json", *flags, *texts)
    objects = map(json.loads, out.splitlines())
    return {piece for each in objects for piece in each["hypotheses"][0]["tokens"]}

  (piece, *_) = pieces() - {"</s>"}
  assert piece not in pieces("--suppress", piece)


def test_given_translations_are_scored_as_the_search_scores_them(
  run, lines, call, tmp_path
):
  texts = lines[:3]
  _, out, _ = call("translate", run, *SEARCH, "--json", *texts)
  best = [json.loads(line)["hypotheses"][0] for line in out.splitlines()]
  (tmp_path / "source").write_text("".join(f"{line}\n" for line in texts))
  reference = tmp_path / "reference"
  reference.write_text(f"{best[0]['text']}\n\n1999-12-31\n")
  files = ["--source", tmp_path / "source", "--reference", reference]
  status, out, _ = call("score", run, *files, "--penalty", "Average()")
  assert status == 0
  for row in out.splitlines():
    score, logprob, n = map(float, row.split("\t"))
    assert score == pytest.approx(logprob / n, abs=1e-5) and score < 0
  assert out.splitlines()[1].endswith("\t1")
  _, out, _ = call("score", run, *files, "--json")
  objects = [json.loads(line) for line in out.splitlines()]
  assert [each["source"] for each in objects] == texts
  assert [each["text"] for each in objects] == [best[0]["text"], "", "1999-12-31"]
  if objects[0]["tokens"] == best[0]["tokens"]:  # else another spelling of the text
    assert objects[0]["score"] == pytest.approx(best[0]["score"], abs=1e-4)
  reference.write_text("2001-02-03\n")
  status, out, err = call("score", run, *files)
  assert status == 1 and out == ""
  assert "source: 3 lines" in err and "reference: 1" in err


def test_columns_have_names(run, lines, call, tmp_path):
  (tmp_path / "a").write_text(f"{lines[0]}\n")
  words = ("score", run, "--source", tmp_path / "a", "--reference", tmp_path / "a")
  status, out, err = call(*words, "--header")
  assert status == 0, err
  header, row = (line.split("\t") for line in out.splitlines())
  assert header == ["score", "logprob", "tokens"] and len(row) == 3
  assert out.splitlines()[1:] == call(*words)[1].splitlines()
  assert call(*words, "--json", "--header")[0] == 1


def test_a_text_longer_than_any_in_training_is_translated_whole(run, lines):
  opened = Run.open(run)
  searcher = Searcher(opened.module(), opened.params(), Search(beam=1, extra=2))
  ids = opened.tokenizer.encode([" ".join(lines * 5)])[0]
  assert len(ids) > 200
  ((_, output),) = searcher.outputs([ids])
  assert 0 < np.count_nonzero(output) <= len(ids) + 2


def test_the_python_example_of_the_page_runs(run, call, capsys):
  text = (ROOT / "docs" / "inference.md").read_text(encoding="utf-8")
  (program,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
  assert 'open("runs/dates")' in program
  # A smaller beam compiles sooner.
  program = program.replace("beam=8, n_best=3", "beam=2, n_best=2")
  exec(program.replace("runs/dates", str(run)), {})
  printed, best = capsys.readouterr().out.splitlines()
  texts = re.findall(r'translate\(\["(.*)", "(.*)"\]\)', program)[0]
  assert ast.literal_eval(printed) == call("translate", run, *texts)[1].splitlines()
  _, out, _ = call("translate", run, "--beam", 2, "--n-best", 2, "--json", texts[0])
  first = json.loads(out)["hypotheses"][0]
  values = (tuple(v) if isinstance(v, list) else v for v in first.values())
  text, score, _, tokens, logprobs = values
  assert best == f"{text} {score} {tokens} {logprobs}"


def test_a_killed_job_leaves_whole_lines(run, lines, monkeypatch, tmp_path):
  program = (
    "import sys, transformer.cli.lines as lines\n"
    "lines.CHUNK_LINES, lines.WRITE_BYTES = 5, 8\n"
    "from transformer.cli import main\n"
    "sys.exit(main())"
  )
  words = ["translate", run, "--beam", "1", "--extra", 2, "--output", tmp_path / "out"]
  words = [str(word) for word in words]
  data = "".join(f"{line}\n" for line in lines * 2).encode()
  part = tmp_path / "out.part"
  command = [sys.executable, "-c", program, *words]
  with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE) as job:
    # Two chunks and a part of a third, the rest of which the job then waits for.
    job.stdin.write(data)
    job.stdin.flush()
    deadline = time.monotonic() + 120
    while not (part.exists() and part.read_text().count("\n") == 10):
      assert job.poll() is None and time.monotonic() < deadline
      time.sleep(0.05)
    job.kill()
  assert not (tmp_path / "out").exists()
  left = part.read_text()
  assert left.count("\n") == 10 and left.endswith("\n")
  redirect_stdin(monkeypatch, data)
  monkeypatch.setattr(line_files, "CHUNK_LINES", 5)
  assert cli.main(words) == 0
  whole = (tmp_path / "out").read_text()
  assert whole.startswith(left) and whole.count("\n") == 12
  assert not part.exists()
