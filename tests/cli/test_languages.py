"""Verbs with a model of several languages."""

import json

import pytest

from tests.interop.fixtures import write_directory, write_marian
from transformer.inference.export import decode
from transformer.runs.translator import Translator


@pytest.fixture(scope="module")
def m2m(tmp_path_factory):
  """A converted M2M-100 with random weights."""
  from transformer import cli

  folder = tmp_path_factory.mktemp("m2m")
  write_directory(folder / "directory", "m2m", "m2m100", vocab_size=520)
  assert cli.main(["convert", str(folder / "directory"), str(folder / "run")]) == 0
  return folder / "run"


SEARCH = ("--beam", 2, "--extra", 3)


def test_a_target_language_is_the_first_token_of_every_output(m2m, call):
  words = "translate", m2m, "a statement", *SEARCH, "--json"
  outputs = {}
  for code in ("de", "__de__", "fr"):
    status, out, err = call(*words, "--target-language", code)
    assert status == 0, err
    outputs[code] = json.loads(out)["hypotheses"][0]["tokens"]
  assert outputs["de"] == outputs["__de__"]
  assert outputs["de"][0] == "__de__" and outputs["fr"][0] == "__fr__"


def test_a_source_language_is_the_first_token_of_every_source(m2m):
  starts = []
  for code in ("en", "ja"):
    translator = Translator.open(m2m, source_language=code, target_language="de")
    (ids,) = translator.run.tokenizer.encode_sources(["a"])
    starts.append(translator.run.tokenizer.pieces(ids[:1]))
  assert starts == [["__en__"], ["__ja__"]]


def test_a_language_that_is_not_the_models_names_the_nearest(m2m, call):
  status, _, err = call("translate", m2m, "a", "--target-language", "dee")
  assert status == 1 and err.startswith("error: --target-language: 'dee' is none of")
  assert "de" in err and err.count("\n") == 1


def test_marians_target_language_is_the_first_token_of_every_source(tmp_path, call):
  write_marian(tmp_path / "directory")
  run = tmp_path / "run"
  assert call("convert", tmp_path / "directory", run)[0] == 0
  tokenizer = Translator.open(run, target_language="de").run.tokenizer
  (ids,) = tokenizer.encode_sources(["a"])
  (written,) = Translator.open(run).run.tokenizer.encode_sources([">>deu<< a"])
  assert tokenizer.pieces(ids[:1]) == [">>deu<<"] and ids.tolist() == written.tolist()
  assert tokenizer.prefix == () and tokenizer.encode(["a"])[0][0] != ids[0]
  status, _, err = call("translate", run, "a", "--source-language", "en")
  assert status == 1 and err.count("\n") == 1
  assert "--source-language en: this model has one source language" in err


def test_a_model_of_one_pair_has_no_languages(run, call):
  for side in ("source", "target"):
    status, _, err = call("translate", run, "a", f"--{side}-language", "de")
    assert status == 1
    assert f"--{side}-language de: this run's tokenizer has no languages" in err


def test_score_and_evaluate_take_the_languages_too(m2m, call, tmp_path):
  (tmp_path / "a").write_text("a class\na value\n")
  (tmp_path / "b").write_text("eine\nzwei\n")
  texts = "--source", tmp_path / "a", "--reference", tmp_path / "b"
  scores = {}
  for code in ("de", "fr"):
    status, out, err = call("score", m2m, *texts, "--target-language", code)
    assert status == 0, err
    scores[code] = out
  assert scores["de"] != scores["fr"]
  words = "evaluate", m2m, *texts, *SEARCH, "--target-language", "de", "--json"
  status, out, err = call(*words)
  assert status == 0, err
  prefix = json.loads(out)["search"]["prefix"]
  (ids,) = Translator.open(m2m, target_language="de").run.tokenizer.encode(["a"])
  assert prefix == [ids[0]]


def test_info_tells_the_languages(m2m, call):
  out = call("info", m2m, "--json")[1]
  assert json.loads(out)["languages"].split()[:3] == ["af", "am", "ar"]


def test_an_exported_file_begins_its_outputs_with_the_target_language(
  m2m, call, tmp_path
):
  (tmp_path / "in").write_text("a class\na value\n")
  words = "export", m2m, "--beam", 1, "--extra", 2, "--input", tmp_path / "in"
  words = *words, "--target-language", "fr", "--output", tmp_path / "out"
  status, _, err = call(*words)
  assert status == 0, err
  tokenizer = Translator.open(m2m, target_language="fr").run.tokenizer
  (ids,) = decode((tmp_path / "out").read_bytes(), tokenizer.encode_sources(["a"]))
  assert tokenizer.pieces(ids[:1]) == ["__fr__"]
