"""Requests to a model of several languages."""

import shutil

import pytest

from tests.interop.fixtures import write_directory
from tests.server.client import LIMITS, Client
from transformer.inference import search
from transformer.interop.convert import import_run
from transformer.interop.hf_directory import HFDirectory
from transformer.runs.translator import Search, Translator
from transformer.server.models import Model

SETTINGS = {"beam": 2, "extra": 3}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """A converted M2M-100 with random weights."""
  folder = tmp_path_factory.mktemp("m2m")
  write_directory(folder / "directory", "m2m", "m2m100", vocab_size=520)
  import_run(HFDirectory(folder / "directory"), folder / "run")
  return folder / "run"


@pytest.fixture(scope="module")
def client(run):
  client = Client(Model.open("m2m", run, LIMITS))
  yield client
  client.batcher.close()


def tokens(answer) -> list[list[str]]:
  assert answer.status_code == 200, answer.text
  return [each["hypotheses"][0]["tokens"] for each in answer.json()["results"]]


@pytest.mark.parametrize(("source", "target"), [("en", "de"), ("ja", "fr")])
def test_translations_are_those_of_the_verb(client, run, source, target):
  languages = {"source_language": source, "target_language": target}
  expected = Translator.open(run, Search(beam=2, extra=3), **languages).hypotheses(
    ["a statement"]
  )
  answer = client.post("/translate", text="a statement", **SETTINGS, **languages)
  assert tokens(answer) == [list(expected[0][0].tokens)]
  assert tokens(answer)[0][0] == f"__{target}__"
  scored = client.post("/score", text="a", translation="b", **languages).json()
  (hypothesis,) = Translator.open(run, **languages).score(["a"], ["b"])
  assert scored["results"][0]["logprob"] == pytest.approx(hypothesis.logprob, rel=1e-4)


def test_languages_share_programs(client):
  client.post("/translate", text="a class", target_language="de", **SETTINGS)
  before = search.compilations()
  answer = client.post("/translate", text="a class", target_language="fr", **SETTINGS)
  assert tokens(answer)[0][0] == "__fr__"
  assert search.compilations() == before


@pytest.mark.parametrize("path", ["translate", "score"])
def test_a_wrong_code_names_the_nearest(client, path):
  body = {"translate": {}, "score": {"translation": "b"}}[path]
  answer = client.post(f"/{path}", text="a", target_language="dee", **body)
  error = answer.json()["error"]
  assert answer.status_code == 400
  assert error.startswith("target_language: 'dee' is none of the model's 100 languages")
  assert "nearest: de" in error and "GET /models" in error and "--" not in error


def test_a_target_language_is_needed_where_the_run_has_none(run, tmp_path):
  copy = shutil.copytree(run, tmp_path / "copy")
  config = copy / "config.json"
  own = '"target_language": "de"'
  assert own in config.read_text()
  config.write_text(config.read_text().replace(own, '"target_language": ""'))
  client = Client(Model.open("m2m", copy, LIMITS), start=False)
  answer = client.post("/translate", text="a", **SETTINGS)
  assert answer.status_code == 400
  assert answer.json()["error"].startswith("target_language: expected a language")


def test_models_have_their_languages(client):
  (model,) = client.get("/models").json()["models"]
  languages = model["languages"]
  assert languages["target"][:3] == ["af", "am", "ar"] == languages["source"][:3]
  assert languages["default_target"] == "de"


def test_a_model_of_one_pair_has_none(translation_run):
  client = Client(Model.open("tiny", translation_run, LIMITS), start=False)
  assert client.get("/models").json()["models"][0]["languages"] is None
  answer = client.post("/translate", text="a", target_language="de")
  assert answer.status_code == 400
  assert "no languages to choose from" in answer.json()["error"]
