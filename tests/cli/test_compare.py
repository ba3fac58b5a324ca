"""Paired bootstrap over stored outputs: what it says, and what it refuses."""

import hashlib
import json

import numpy as np
import pytest
import sacrebleu

from transformer import cli
from transformer.cli.evaluate import count_search_errors, record_files, write_files
from transformer.runs.translator import Hypothesis
from transformer.tasks.text_scores import text_scores

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def sentences(count, seed):
  rng = np.random.default_rng(seed)
  return [" ".join(rng.choice(WORDS, rng.integers(6, 13))) for _ in range(count)]


REFERENCES = sentences(60, 0)


def worse(share, seed=1):
  """The references with a share of the words replaced."""
  rng = np.random.default_rng(seed)
  return [
    " ".join("wrong" if rng.random() < share else word for word in line.split())
    for line in REFERENCES
  ]


def write(run, outputs, name="test", references=REFERENCES, **changes):
  folder = run / "evaluations"
  folder.mkdir(parents=True, exist_ok=True)
  record = {**text_scores(outputs, references), "data_sha256": "d" * 64, **changes}
  texts = {"sources": references, "outputs": outputs, "references": references}
  write_files(folder, record_files(name, record, texts))
  return run


def call(capsys, *words):
  status = cli.main(["compare", *map(str, words)])
  return status, *capsys.readouterr()


def test_a_large_difference_is_no_chance_and_none_is(capsys, tmp_path):
  good, bad = worse(0.1), worse(0.4, seed=2)
  a, b = write(tmp_path / "a", bad), write(tmp_path / "b", good)
  status, out, _ = call(capsys, a, b, "--json")
  record = json.loads(out)
  bleu = record["scores"]["BLEU"]
  assert status == 0 and record["sentences"] == 60 and bleu["p"] < 0.01
  own = sacrebleu.BLEU().corpus_score(good, [REFERENCES]).score
  assert bleu["b"] == pytest.approx(own) and bleu["difference"] > 10
  assert abs(bleu["b_mean"] - own) < bleu["b_interval"]
  # The other way round the difference is the same, its sign is not.
  _, out, _ = call(capsys, b / "evaluations" / "test.json", a, "--json")
  back = json.loads(out)["scores"]["BLEU"]
  assert back["difference"] == pytest.approx(-bleu["difference"]) and back["p"] < 0.01
  write(tmp_path / "b", worse(0.4, seed=3))
  _, out, _ = call(capsys, a, b, "--json", "--resamples", 300)
  alike = json.loads(out)
  assert alike["scores"]["BLEU"]["p"] > 0.02 and alike["resamples"] == 300
  _, out, _ = call(capsys, a, a, "--json")
  assert json.loads(out)["scores"]["BLEU"]["p"] == 1.0


def test_the_table_says_what_the_record_says(capsys, tmp_path):
  a, b = write(tmp_path / "a", worse(0.3)), write(tmp_path / "b", worse(0.2))
  write(a, worse(0.1), name="other")
  write(b, worse(0.1), name="other")
  _, out, _ = call(capsys, a, b, "--json")
  record = json.loads(out)
  status, out, _ = call(capsys, a, b)
  assert status == 0
  for metric in ("BLEU", "chrF2"):
    (row,) = [line for line in out.splitlines() if line.startswith(f"| {metric} |")]
    scores = record["scores"][metric]
    assert f"{scores['difference']:+.2f} | {scores['p']:.4f} |" in row
    assert f"| {scores['a']:.2f} (" in row and scores["signature"] in out
  _, out, _ = call(capsys, a, b, "--name", "other")
  assert "+0.00" in out


@pytest.mark.parametrize(
  "changes, message",
  [
    ({"bleu_signature": "nrefs:1|tok:intl"}, "sacreBLEU signatures differ"),
    ({"data_sha256": "e" * 64}, "hashes of the data differ"),
    ({"references": [*REFERENCES[1:], "x"]}, "their references differ"),
  ],
)
def test_scores_that_do_not_compare_are_refused(capsys, tmp_path, changes, message):
  a = write(tmp_path / "a", worse(0.3))
  b = write(tmp_path / "b", worse(0.2), **changes)
  status, out, err = call(capsys, a, b)
  assert status == 1 and out == ""
  assert err.count("\n") == 1 and message in err


def test_damaged_records_are_refused(capsys, tmp_path):
  a, b = write(tmp_path / "a", worse(0.3)), write(tmp_path / "b", worse(0.2))
  outputs = b / "evaluations" / "test.txt"
  outputs.write_text(outputs.read_text().replace("wrong", "right", 1))
  assert "test.txt: changed since test.json was written" in call(capsys, a, b)[2]
  outputs.unlink()
  assert "test.txt: no such file" in call(capsys, a, b)[2]
  for text in ("{}", "[1]", "null", "{", "[" * 100_000):
    (b / "evaluations" / "test.json").write_text(text)
    assert "test.json: not a record of transformer evaluate" in call(capsys, a, b)[2]
  assert "none.json: no such file" in call(capsys, a, b, "--name", "none")[2]
  old = "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:1.0.0"
  for run in (a, b):
    write(run, worse(0.3), bleu_signature=old)
  status, _, err = call(capsys, a, b)
  assert status == 1 and "evaluate both again" in err


def test_a_record_has_the_digests_of_its_texts(tmp_path):
  run = write(tmp_path / "a", ["x\ny", "z"], references=["p", "q"])
  folder = run / "evaluations"
  assert (folder / "test.txt").read_text() == "x y\nz\n"
  record = json.loads((folder / "test.json").read_text())
  for kind, name in (("outputs", "test.txt"), ("references", "test.reference.txt")):
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    assert record[f"{kind}_sha256"] == digest


def test_a_reference_that_scores_better_is_a_search_error():
  def scored(score):
    return Hypothesis("x", score, score, ("x",), (score,))

  results = [[scored(-2.0), scored(-3.0)], [scored(-2.0)], [], [scored(-2.0)]]
  references = [scored(-2.5), scored(-1.9), scored(-0.1), scored(-1.99999)]
  assert count_search_errors(results, references) == 1
