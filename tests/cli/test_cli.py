"""The verbs, on a run that has learnt next to nothing: order, errors, files."""

import ast
import io
import json
import re
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.runs.test_run import ROOT, TINY, train
from transformer import cli, tree
from transformer.data.sources.dates import Dates
from transformer.decoding.rerank import mbr
from transformer.runs.run import Run
from transformer.training.schedules import Schedule


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  path = tmp_path_factory.mktemp("cli") / "run"
  assert train(path) == 0
  return path


def call(capsys, *words):
  status = cli.main([str(word) for word in words])
  return status, *capsys.readouterr()


def texts(count):
  data = Dates(held_out=50).open("test")
  return [data[i].source for i in range(count)]


def test_translate_answers_each_text_in_place(run, capsys):
  lines = texts(3)
  status, out, err = call(
    capsys, "translate", run, lines[0], "", lines[1], " ", lines[2]
  )
  assert status == 0 and err == ""
  rows = out.split("\n")
  assert len(rows) == 6 and rows[1] == rows[3] == rows[5] == ""
  alone = [call(capsys, "translate", run, line)[1] for line in lines]
  assert [rows[0] + "\n", rows[2] + "\n", rows[4] + "\n"] == alone


def test_translate_reads_standard_input_and_files_alike(
  run, capsys, monkeypatch, tmp_path
):
  lines = [*texts(2), "", *texts(5)[2:]]
  # A separator that is not a line feed is part of its line; the last line needs none.
  lines[0] += "\u2028\x0b."
  data = "\n".join(lines).encode()
  stdin = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8")
  monkeypatch.setattr(sys, "stdin", stdin)
  status, out, _ = call(capsys, "translate", run, "--beam", 1)
  assert status == 0
  (tmp_path / "in").write_bytes(data)
  files = ["--input", tmp_path / "in", "--output", tmp_path / "out"]
  status, nothing, _ = call(capsys, "translate", run, "--beam", 1, *files)
  assert status == 0 and nothing == ""
  assert (tmp_path / "out").read_text() == out
  assert out.count("\n") == len(lines) and out.split("\n")[2] == ""


def test_bad_text_gets_one_line_and_leaves_no_file(run, capsys, tmp_path):
  (tmp_path / "in").write_bytes(b"12 May 2001\n12 M\xe4rz 2001\n")
  files = ["--input", tmp_path / "in", "--output", tmp_path / "out"]
  status, _, err = call(capsys, "translate", run, *files)
  assert status == 1 and err.count("\n") == 1
  assert "line 2: invalid UTF-8 (byte 5 of the line is 0xe4)" in err
  assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
  "words, message",
  [
    (["translate", "{tmp}", "x"], "not a run"),
    (["translate", "{run}", "--beam", "0", "x"], "beam: expected 1 or more, got 0"),
    (["translate", "{run}", "--input", "{tmp}/none"], "none: cannot be read"),
    (["translate", "{run}", "--input", "{tmp}/none", "x"], "not both"),
    (["translate", "{run}", "--step", "5", "x"], "no checkpoint of step 5; there are"),
    (["translate", "{run}", "--sample", "TopQ(1)", "x"], "did you mean TopP?"),
    (["translate", "{run}", "--penalty", "Mean()", "x"], "--penalty: no LengthPenalty"),
    (["translate", "{run}", "--penalty", "GNMT()", "--alpha", "1", "x"], "not both"),
    (
      ["translate", "{run}", "--penalty", "Coverage()", "--beam", "1", "x"],
      "a beam of 1",
    ),
    (["translate", "{run}", "--sample", "TopK(2)", "--beam", "2", "x"], "not draw"),
    (["translate", "{run}", "--stream", "--json", "x"], "does not go with"),
    (["translate", "{run}", "--n-best", "2", "--mbr", "2", "x"], "not both"),
    (["translate", "{run}", "--n-best", "9", "x"], "more than the beam's 4"),
    (["translate", "{run}", "--suppress", "QXQ", "x"], "--suppress: 'QXQ' is no piece"),
    (["translate", "{run}", "--output", "{tmp}/no/out", "x"], "cannot be written"),
    (["evaluate", "{run}", "--name", "a/b"], "no plain file name"),
    (["evaluate", "{run}", "--split", "dev"], "expected one of train, val, test"),
    (["evaluate", "{run}", "--source", "x"], "given together"),
    (["average", "{run}", "--last", "9"], "there are 3 checkpoints"),
    (["average", "{run}", "--last", "2", "--output", "{tmp}"], "already exists"),
    (["info", "{tmp}/none"], "not a run"),
  ],
)
def test_mistakes_get_one_line(run, capsys, tmp_path, words, message):
  words = [word.format(run=run, tmp=tmp_path) for word in words]
  status, out, err = call(capsys, *words)
  assert status == 1 and out == ""
  assert err.startswith("error: ") and err.count("\n") == 1 and message in err


def test_evaluate_gives_scores_that_can_be_compared(run, capsys):
  status, out, _ = call(capsys, "evaluate", run, "--split", "test", "--json")
  record = json.loads(out)
  assert status == 0
  wanted = {"loss", "exact_match", "bleu", "bleu_signature", "chrf", "sentences"}
  assert wanted <= record.keys() and record["sentences"] == 12 and record["step"] == 6
  assert "tok:13a" in record["bleu_signature"] and record["loss"] > 0
  stored = json.loads((run / "evaluations" / "test.json").read_text())
  assert stored == record
  assert (run / "evaluations" / "test.txt").read_text().count("\n") == 12
  for name in ("config", "tokenizer", "data", "outputs", "references"):
    assert len(record[f"{name}_sha256"]) == 64
  data = TINY.data.open("test")
  stored = (run / "evaluations" / "test.reference.txt").read_text().splitlines()
  assert stored == [data[i].target for i in range(12)]
  assert record["search"]["beam"] == 4 and 0 <= record["search_errors"] <= 12


def test_two_ways_to_search_are_compared(run, capsys):
  call(capsys, "evaluate", run, "--beam", 1, "--name", "greedy")
  draw = ["--sample", "TopK(3)", "--mbr", 3, "--seed", 5]
  call(capsys, "evaluate", run, *draw, "--name", "drawn")
  folder = run / "evaluations"
  drawn = json.loads((folder / "drawn.json").read_text())
  assert drawn["mbr"] == 3 and drawn["seed"] == 5 and "search_errors" not in drawn
  assert drawn["search"]["sampler"] == {"type": "TopK", "temperature": 1.0, "k": 3}
  files = folder / "greedy.json", folder / "drawn.json"
  status, out, _ = call(capsys, "compare", *files, "--resamples", 50)
  assert status == 0 and "12 sentences" in out
  _, alone, _ = call(capsys, "translate", run, *draw, texts(1)[0])
  assert (folder / "drawn.txt").read_text().startswith(alone)


def test_evaluate_tells_what_int8_changes(run, capsys):
  _, out, _ = call(capsys, "evaluate", run, "--beam", 1, "--json", "--name", "whole")
  whole = json.loads(out)
  words = ["--beam", 1, "--json", "--name", "int8", "--weights", "int8"]
  _, out, _ = call(capsys, "evaluate", run, *words)
  record = json.loads(out)
  assert record["weights"] == "int8" and whole["weights"] == "float32"
  assert record["bleu_float32"] == whole["bleu"]
  assert record["bleu_change"] == record["bleu"] - whole["bleu"]
  assert record["loss"] != whole["loss"]
  assert record["loss"] == pytest.approx(whole["loss"], rel=0.01)
  _, out, _ = call(
    capsys, "translate", run, "--weights", "int8", "--beam", 1, texts(1)[0]
  )
  assert (run / "evaluations" / "int8.txt").read_text().startswith(out)


def test_evaluate_reads_own_files(run, capsys, tmp_path):
  data = TINY.data.open("test")
  for side, name in enumerate(("source", "reference")):
    lines = "".join(f"{data[i][side]}\n" for i in range(len(data)))
    (tmp_path / name).write_text(lines, encoding="utf-8")
  _, out, _ = call(capsys, "evaluate", run, "--split", "test", "--json")
  files = ["--source", tmp_path / "source", "--reference", tmp_path / "reference"]
  _, own, _ = call(capsys, "evaluate", run, "--json", *files)
  for name in ("loss", "bleu", "chrf", "exact_match", "sentences"):
    assert json.loads(own)[name] == json.loads(out)[name], name


def test_average_is_a_run_with_the_mean_of_the_last(run, capsys, tmp_path):
  status, out, _ = call(
    capsys, "average", run, "--last", 2, "--output", tmp_path / "mean"
  )
  assert status == 0 and "steps 4, 6" in out
  opened = Run.open(run)
  for path, leaf in tree.paths(Run.open(tmp_path / "mean").params()).items():
    parts = [tree.paths(opened.params(step))[path] for step in (4, 6)]
    np.testing.assert_allclose(leaf, np.mean(parts, axis=0), atol=1e-7)
  status, out, _ = call(capsys, "translate", tmp_path / "mean", "12 May 2001")
  assert status == 0 and out.count("\n") == 1
  with pytest.raises(ValueError, match="holds parameters alone"):
    train(tmp_path / "mean", steps=8)


def test_average_of_the_best_takes_those_that_scored_best(tmp_path, capsys):
  path = tmp_path / "run"
  # At such a rate it gets worse and worse.
  settings = dict(steps=3, eval_every=1, save_every=1, schedule=Schedule(rate=9.0))
  assert train(path, **settings) == 0
  ranks = Run.open(path).ranks()
  assert sorted(ranks) == [1, 2, 3] and min(ranks, key=ranks.get) == 3
  status, out, _ = call(
    capsys, "average", path, "--best", 2, "--output", tmp_path / "m"
  )
  assert status == 0 and "steps 1, 2" in out
  _, out, _ = call(capsys, "info", path, "--json")
  assert json.loads(out)["val/loss"] == {str(s): -rank for s, rank in ranks.items()}
  status, _, err = call(capsys, "average", path, "--best", 4)
  assert status == 1 and "--best 4: there are 3 evaluated checkpoints" in err


def test_info_tells_what_a_run_is(run, capsys):
  status, out, _ = call(capsys, "info", run, "--json")
  record = json.loads(out)
  assert status == 0
  assert record["step"] == 6 and record["checkpoints"] == [2, 4, 6]
  assert record["val/loss"]["6"] == -Run.open(run).ranks()[6] > 0
  assert record["parameters"] == tree.size(Run.open(run).params())
  assert record["parameters_sha256"] == tree.sha256(Run.open(run).params())
  assert record["config"]["model"]["d_ff"] == 24
  _, older, _ = call(capsys, "info", run, "--json", "--step", 4)
  assert json.loads(older)["parameters_sha256"] != record["parameters_sha256"]


def test_the_example_for_programs_in_the_readme_runs(run, capsys):
  text = (ROOT / "README.md").read_text(encoding="utf-8")
  (program,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
  assert 'open("runs/dates")' in program
  exec(program.replace("runs/dates", str(run)), {})
  printed, best = capsys.readouterr().out.splitlines()
  _, alone, _ = call(
    capsys, "translate", run, "6. září 2030", "Friday, October 8, 1915"
  )
  assert ast.literal_eval(printed) == alone.splitlines()
  _, whole, _ = call(capsys, "translate", run, "--beam", 8, "--json", "6. září 2030")
  first = json.loads(whole)["hypotheses"][0]
  values = (tuple(v) if isinstance(v, list) else v for v in first.values())
  text, score, _, tokens, logprobs = values
  assert best == f"{text} {score} {tokens} {logprobs}"


def test_a_text_longer_than_any_in_training_is_translated_whole(run):
  from transformer.inference.search import Search, Searcher

  opened = Run.open(run)
  searcher = Searcher(opened.module(), opened.params(), Search(beam=1, extra=3))
  long = " ".join(texts(40))
  ids = opened.tokenizer.encode([long])[0]
  assert len(ids) > 200
  ((_, output),) = searcher.outputs([ids])
  assert 0 < np.count_nonzero(output) <= len(ids) + 3


def test_scores_n_best_and_json_say_the_same(run, capsys):
  lines = [texts(2)[0], "", texts(2)[1]]
  _, plain, _ = call(capsys, "translate", run, *lines)
  _, out, _ = call(capsys, "translate", run, "--n-best", 3, "--scores", *lines)
  rows = [row.split("\t") for row in out.splitlines()]
  assert {row[0] for row in rows} == {"1", "2", "3"} and len(rows) > 3
  firsts = {row[0]: row[2] for row in reversed(rows)}
  assert [firsts[number] for number in "123"] == plain.splitlines()
  assert ["2", "", ""] in rows
  _, out, _ = call(capsys, "translate", run, "--n-best", 3, "--json", *lines)
  objects = [json.loads(line) for line in out.splitlines()]
  assert [each["source"] for each in objects] == lines
  assert objects[1]["hypotheses"] == []
  again = [
    [str(i), f"{each['score']:.6f}", each["text"]]
    for i, found in enumerate(objects, 1)
    for each in found["hypotheses"]
  ]
  assert again == [row for row in rows if row[0] != "2"]
  first = objects[0]["hypotheses"][0]
  assert len(first["tokens"]) == len(first["token_logprobs"])


def test_streams_and_samples_come_out_as_whole_lines(run, capsys):
  lines = texts(3)
  draw = ["--sample", "TopK(5)", "--seed", 3, "--min-length", 2]
  _, drawn, _ = call(capsys, "translate", run, *draw, *lines)
  _, streamed, _ = call(capsys, "translate", run, *draw, "--stream", *lines)
  assert streamed == drawn and drawn.count("\n") == 3
  _, other, _ = call(capsys, "translate", run, *draw[:3], 4, *draw[4:], *lines)
  assert other != drawn
  _, many, _ = call(capsys, "translate", run, *draw, "--n-best", 4, *lines)
  candidates = [row.partition("\t")[2] for row in many.splitlines()]
  _, chosen, _ = call(capsys, "translate", run, *draw, "--mbr", 4, *lines)
  wanted = [mbr(candidates[i : i + 4]) for i in (0, 4, 8)]
  assert chosen.splitlines() == [
    candidates[start + i] for start, i in zip((0, 4, 8), wanted, strict=True)
  ]


def test_prefix_and_suppressed_pieces_reach_the_search(run, capsys):
  text = texts(1)[0]
  _, out, _ = call(capsys, "translate", run, "--prefix", "1999-", text)
  assert out.startswith("1999-")
  _, out, _ = call(capsys, "translate", run, "--json", text)
  piece = json.loads(out)["hypotheses"][0]["tokens"][0]
  assert piece != "</s>"
  _, out, _ = call(capsys, "translate", run, "--json", "--suppress", piece, text)
  assert piece not in json.loads(out)["hypotheses"][0]["tokens"]


def test_given_translations_are_scored_as_the_search_scores_them(run, capsys, tmp_path):
  lines = texts(3)
  (tmp_path / "source").write_text("".join(f"{line}\n" for line in lines))
  (tmp_path / "given").write_text("2001-02-03\n\n1999-12-31\n")
  files = ["--source", tmp_path / "source", "--reference", tmp_path / "given"]
  status, out, _ = call(capsys, "score", run, *files, "--penalty", "Average()")
  assert status == 0
  for row in out.splitlines():
    score, logprob, n = map(float, row.split("\t"))
    assert score == pytest.approx(logprob / n, abs=1e-5) and score < 0
  assert out.splitlines()[1].endswith("\t1")
  _, whole, _ = call(capsys, "score", run, *files, "--json")
  objects = [json.loads(line) for line in whole.splitlines()]
  assert [each["source"] for each in objects] == lines
  assert [each["text"] for each in objects] == ["2001-02-03", "", "1999-12-31"]
  (tmp_path / "given").write_text("2001-02-03\n")
  status, out, err = call(capsys, "score", run, *files)
  assert status == 1 and out == "" and "source: 3 lines" in err and "given: 1" in err


def test_help_has_every_recipe_with_its_formula(capsys):
  with pytest.raises(SystemExit):
    cli.main(["translate", "--help"])
  text = " ".join(capsys.readouterr().out.split())
  for wanted in (
    "GNMT(alpha=0.6): ((5 + n) / 6)^alpha",
    "Average(): n: the score is the mean log-probability",
    "LengthPenalty(): None: the score is the log-probability",
    "TopP(p=0.9, temperature=1.0)",
    "MinP(p=0.1",
  ):
    assert wanted in text


def test_a_killed_job_leaves_whole_lines(run, tmp_path):
  lines = texts(12)
  program = (
    "import sys, transformer.cli.lines as lines, transformer.cli.translate as text\n"
    "text.CHUNK, lines.ATOM = 5, 8\n"
    "from transformer.cli import main\n"
    "sys.exit(main())"
  )
  words = [sys.executable, "-c", program, "translate", run, "--beam", "1"]
  words = [str(word) for word in [*words, "--output", tmp_path / "out"]]
  part = tmp_path / "out.part"
  with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE) as job:
    # Two chunks and a part of a third, for which the job then waits.
    job.stdin.write("".join(f"{line}\n" for line in lines).encode())
    job.stdin.flush()
    deadline = time.monotonic() + 120
    while not (part.exists() and part.read_text().count("\n") == 10):
      assert job.poll() is None and time.monotonic() < deadline
      time.sleep(0.05)
    job.kill()
  assert not (tmp_path / "out").exists()
  left = part.read_text()
  assert left.count("\n") == 10 and left.endswith("\n")
  data = "".join(f"{line}\n" for line in lines).encode()
  assert subprocess.run(words, cwd=ROOT, input=data).returncode == 0
  whole = (tmp_path / "out").read_text()
  assert whole.startswith(left) and whole.count("\n") == 12
  assert not part.exists()
