"""`transformer evaluate`: a record of the scores, and all that they depend on."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import SEARCH
from transformer import config as configs
from transformer.cli import evaluate
from transformer.data.sources.image_folder import ImageFolder
from transformer.experiment import Config
from transformer.runs.run import Run
from transformer.tasks.image_classification import ImageClassification

GREEDY = ("--beam", 1, "--extra", 2)


@pytest.fixture
def files(run):
  """Flags for the test split's own files."""
  data = Run.open(run).config.data
  return "--source", Path(data.test_source), "--reference", Path(data.test_target)


def test_a_record_has_scores_and_what_they_depend_on(run, files, call):
  status, out, _ = call("evaluate", run, *SEARCH, "--split", "test", "--json")
  record = json.loads(out)
  assert status == 0
  expected = {"loss", "exact_match", "bleu", "bleu_signature", "chrf", "sentences"}
  assert expected <= record.keys()
  assert record["sentences"] == 6 and record["step"] == 120
  assert "tok:13a" in record["bleu_signature"] and record["loss"] > 0
  folder = run / "evaluations"
  assert json.loads((folder / "test.json").read_text()) == record
  assert (folder / "test.txt").read_text().count("\n") == 6
  for name in ("config", "tokenizer", "data", "outputs", "references"):
    assert len(record[f"{name}_sha256"]) == 64
  assert (folder / "test.source.txt").read_text() == files[1].read_text()
  assert (folder / "test.reference.txt").read_text() == files[3].read_text()
  assert record["search"]["beam"] == 2
  # The same texts in files give the same scores.
  _, out, _ = call("evaluate", run, *SEARCH, "--json", *files)
  own = json.loads(out)
  assert "split" not in own and (own["source"], own["reference"]) == tuple(
    str(files[i]) for i in (1, 3)
  )
  stem = f"{files[1].stem}-{own['data_sha256'][:8]}"
  assert json.loads((folder / f"{stem}.json").read_text()) == own
  for name in ("loss", "bleu", "chrf", "exact_match", "sentences"):
    assert own[name] == record[name], name


@pytest.mark.parametrize("part", ["params", "note"])
def test_the_step_is_that_of_the_parameters(translation_run_copy, call, part):
  """Also where the newest checkpoint is damaged, and the one before is used."""
  for file in (translation_run_copy / "checkpoints" / "6" / part).rglob("*"):
    if file.is_file():
      file.write_bytes(b"{}")
  words = "evaluate", translation_run_copy, *GREEDY, "--json"
  status, out, err = call(*words)
  assert status == 0 and "6: damaged" in err and "trying the one before" in err
  found = json.loads(out)
  assert found["step"] == 4
  assert found == json.loads(call(*words, "--step", 4)[1])
  _, out, _ = call("info", translation_run_copy, "--json")
  assert json.loads(out)["step"] == 4


def test_another_record_of_the_name_is_kept(run, call, tmp_path):
  words = "evaluate", run, "--split", "val", "--output", tmp_path, "--json"
  first = json.loads(call(*words, *GREEDY)[1])
  status, _, message = call(*words, *GREEDY)
  assert status == 0 and "val-1" not in message
  status, second, message = call(*words, *SEARCH)
  assert status == 0 and message.endswith("it is now val-1.json\n")
  records = [json.loads((tmp_path / f"{n}.json").read_text()) for n in ("val-1", "val")]
  assert records == [first, json.loads(second)]
  assert (tmp_path / "val-1.txt").exists() and (
    tmp_path / "val-1.reference.txt"
  ).exists()


@pytest.mark.parametrize("text", ["[1]", "null", "{", "[" * 100_000])
def test_what_is_no_record_is_kept_too(tmp_path, text):
  (tmp_path / "val.json").write_text(text)
  evaluate.keep_other(tmp_path, "val", {})
  assert (tmp_path / "val-1.json").read_text() == text


def test_the_text_that_is_scored_is_that_of_the_training(
  run, call, tmp_path, monkeypatch
):
  copy = shutil.copytree(run, tmp_path / "run")
  data = Run.open(run).config.data
  names = [field.name for field in dataclasses.fields(data)]
  for name in names:
    shutil.copy(getattr(data, name), tmp_path / name)
  config = json.loads((copy / "config.json").read_text())
  config["data"] |= {name: name for name in names}
  (copy / "config.json").write_text(json.dumps(config))
  status, _, message = call("evaluate", copy, *GREEDY)
  assert status == 1 and "say with --data where it is now" in message
  monkeypatch.chdir(tmp_path)
  assert call("evaluate", copy, *GREEDY)[0] == 0
  moved = data.__class__(*(str(tmp_path / name) for name in names))
  assert call("evaluate", copy, *GREEDY, "--data", configs.written(moved))[0] == 0
  (tmp_path / "test_target").write_text("1\n" * 6)
  status, _, message = call("evaluate", copy, *GREEDY)
  assert status == 1 and "is not the one of" in message and "--data" in message


def test_search_errors_are_references_that_score_better(run, files, call, tmp_path):
  _, out, _ = call("translate", run, *GREEDY, "--scores", "--input", files[1])
  outputs = [float(line.split("\t")[0]) for line in out.splitlines()]
  # One of them is short and probable, the other is not.
  (tmp_path / "reference").write_text("19-0\n2\n" * 3)
  texts = [*files[:3], tmp_path / "reference"]
  _, out, _ = call("score", run, *texts)
  references = [float(line.split("\t")[0]) for line in out.splitlines()]
  errors = sum(a > b for a, b in zip(references, outputs, strict=True))
  assert 0 < errors < 6
  record = json.loads(call("evaluate", run, *GREEDY, "--json", *texts)[1])
  assert record["search_errors"] == errors


def test_two_searches_are_compared(run, lines, call):
  sample = ["--sample", "TopK(3)", "--mbr", 3, "--seed", 5, "--extra", 2]
  call("evaluate", run, *GREEDY, "--name", "greedy")
  call("evaluate", run, *sample, "--name", "sampled")
  folder = run / "evaluations"
  record = json.loads((folder / "sampled.json").read_text())
  assert record["mbr"] == 3 and record["seed"] == 5 and "search_errors" not in record
  assert record["search"]["sampler"] == {"type": "TopK", "temperature": 1.0, "k": 3}
  records = folder / "greedy.json", folder / "sampled.json"
  status, out, _ = call("compare", *records, "--resamples", 50)
  assert status == 0 and "6 sentences" in out
  _, out, _ = call("translate", run, *sample, *lines)
  assert len(set(out.splitlines())) > 1
  assert (folder / "sampled.txt").read_text() == out


@pytest.mark.slow
def test_int8_is_compared_with_float32(run, lines, call):
  _, out, _ = call("evaluate", run, *GREEDY, "--json", "--name", "float32")
  float32 = json.loads(out)
  words = [*GREEDY, "--json", "--name", "int8", "--weights", "int8"]
  _, out, _ = call("evaluate", run, *words)
  record = json.loads(out)
  assert record["weights"] == "int8" and float32["weights"] == "float32"
  assert record["bleu_float32"] == float32["bleu"]
  assert record["bleu_change"] == record["bleu"] - float32["bleu"]
  assert record["loss"] != float32["loss"]
  assert record["loss"] == pytest.approx(float32["loss"], rel=0.01)
  _, out, _ = call("translate", run, *GREEDY, "--weights", "int8", *lines)
  assert len(set(out.splitlines())) > 1
  assert (run / "evaluations" / "int8.txt").read_text() == out


def test_bleu_is_by_the_words_that_a_tokenizer_makes(run, files, call):
  words = [*GREEDY, "--json", *files]
  scores = {}
  for tokenize in ("char", "none"):
    flags = ("--tokenize", tokenize, "--name", tokenize)
    status, out, err = call("evaluate", run, *words, *flags)
    assert status == 0, err
    scores[tokenize] = json.loads(out)
    assert scores[tokenize]["bleu_tokenize"] == tokenize
    assert f"tok:{tokenize}" in scores[tokenize]["bleu_signature"]
  assert scores["char"]["bleu"] > scores["none"]["bleu"]
  folder = run / "evaluations"
  records = folder / "char.json", folder / "none.json"
  status, _, err = call("compare", *records, "--resamples", 20)
  assert status == 1 and "their sacreBLEU signatures differ" in err
  assert "--tokenize NAME scores both anew" in err
  same = call("compare", records[0], records[0], "--resamples", 20)
  assert same[0] == 0 and "tok:char" in same[1]
  anew = call("compare", *records, "--resamples", 20, "--tokenize", "char")
  assert anew[0] == 0 and "tok:char" in anew[1], anew[2]
  assert call("evaluate", run, *words, "--tokenize", "cjk")[0] == 1


def test_files_of_texts_are_not_offered_for_images(tmp_path):
  config = Config(data=ImageFolder("no"), task=ImageClassification(size=4))
  with pytest.raises(FileNotFoundError, match=r"say with --data where it is now$"):
    evaluate.check_data(config.data, "val", Run(tmp_path, config, None), "val")
