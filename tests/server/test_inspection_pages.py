"""`/attend` and `/beam` answer with the pages of the verbs of these names."""

import base64
import io
import json
import re

import pytest

from tests.server.client import LIMITS, Client
from tests.server.runs import STORY, write_run
from transformer.data.sources.digits import Digits
from transformer.inspection import search_tree_page
from transformer.inspection.attention import attention_of
from transformer.inspection.search_tree import beam_of
from transformer.runs.translator import Search, Translator
from transformer.server.limits import Limits
from transformer.server.models import Model


@pytest.fixture(scope="module")
def client(translation_run):
  client = Client(Model.open("tiny", translation_run, LIMITS))
  yield client
  client.batcher.close()


def data_of(answer) -> dict:
  """The data of a page."""
  assert answer.status_code == 200, answer.text
  assert answer.headers["content-type"].startswith("text/html")
  assert answer.headers["content-security-policy"].startswith("sandbox allow-scripts;")
  (found,) = re.findall(r'id="data">(.*)</script>', answer.text)
  return json.loads(found)


@pytest.mark.parametrize("reference", [None, "b c"])
def test_attention_is_that_of_the_verb(client, translation_run, reference):
  translator = Translator.open(translation_run, Search(beam=2, extra=4))
  expected = attention_of(translator, "a b c", reference)
  answer = client.post("/attend", text="a b c", reference=reference, beam=2, extra=4)
  data = data_of(answer)
  assert (data["text"], data["output"]) == ("a b c", expected.output)
  assert [each["queries"] for each in data["maps"]] == [
    list(each.queries) for each in expected.maps
  ]


def test_the_beam_is_that_of_the_verb(client, translation_run):
  search = Search(beam=3, extra=4)
  expected = beam_of(Translator.open(translation_run, search), "a b")
  data = data_of(client.post("/beam", text="a b", beam=3, extra=4))
  record = json.loads(search_tree_page.as_json(expected))
  assert data["beam"] == 3 and len(data["candidates"]) == len(record["candidates"])
  for name in ("outputs", "candidates"):
    pieces = [(each.get("text"), each.get("piece")) for each in data[name]]
    assert pieces == [(each.get("text"), each.get("piece")) for each in record[name]]


@pytest.mark.parametrize(
  ("path", "body", "status", "message"),
  [
    ("/beam", {"text": "a", "beam": 1}, 400, "beam: expected 2 or more"),
    ("/beam", {"text": ["a"]}, 400, "text: expected a string, got a list"),
    ("/attend", {"text": ""}, 400, "the text is empty"),
    ("/attend", {"text": "a", "target_language": "de"}, 400, "no languages to choose"),
  ],
)
def test_what_cannot_be_shown_gets_one_line(client, path, body, status, message):
  answer = client.post(path, **body)
  assert answer.status_code == status
  assert message in answer.json()["error"] and "--" not in answer.json()["error"]


def test_long_texts_are_not_shown(translation_run):
  limits = Limits(shown_tokens=9)
  client = Client(Model.open("tiny", translation_run, limits), start=False)
  for path in ("/attend", "/beam"):
    answer = client.post(path, text="a " * 10)
    assert answer.status_code == 413 and "at most 9 are shown" in answer.json()["error"]


def test_pages_wait_in_the_queue_too(translation_run):
  limits = Limits(queue=1)
  client = Client(Model.open("tiny", translation_run, limits), limits=limits)
  requests = [{"method": "POST", "url": "/beam", "json": {"text": "a"}}] * 4
  statuses = [answer.status_code for answer in client.send(*requests)]
  client.batcher.close()
  assert set(statuses) == {200, 429}


@pytest.fixture(scope="module")
def others(tmp_path_factory, language_run):
  """A client of runs of every other task."""
  folder = tmp_path_factory.mktemp("runs")
  runs = {name: write_run(name, folder) for name in ("fill", "texts", "questions")}
  runs |= {"images": write_run("images", folder), "language": language_run}
  client = Client(*(Model.open(name, run, LIMITS) for name, run in runs.items()))
  yield client
  client.batcher.close()


@pytest.mark.parametrize(
  ("model", "text", "shown"),
  [
    ("fill", "Oslo [MASK]", "encoder/self_attention"),
    ("texts", "Oslo", "encoder/self_attention"),
    ("questions", STORY, "memory"),
    ("language", "the cat", "self_attention"),
  ],
)
def test_other_models_show_their_attention(others, model, text, shown):
  data = data_of(others.post("/attend", model=model, text=text))
  assert data["text"] == text and data["maps"], data
  assert any(shown in each["name"] for each in data["maps"]), data["maps"]


def test_an_image_comes_in_the_request(others, tmp_path):
  pillow = pytest.importorskip("PIL.Image")
  image_yxc, _ = Digits().open("test")[0]
  pillow.fromarray(image_yxc[..., 0]).save(tmp_path / "digit.png")
  image = base64.b64encode((tmp_path / "digit.png").read_bytes()).decode()
  data = data_of(others.post("/attend", model="images", image=image))
  assert data["image"].startswith("data:image/png;base64,")
  for wrong, message in (("!", "not base64"), ("YQ==", "image")):
    answer = others.post("/attend", model="images", image=wrong)
    assert answer.status_code == 400 and message in answer.json()["error"]
    assert "/tmp" not in answer.json()["error"]


def test_a_body_is_read_as_that_of_its_own_run(others):
  classes = others.post("/classify", model="texts", text="Oslo").json()["results"]
  assert len(classes[0]["classes"]) == 1
  answer = others.post("/classify", model="images", text="Oslo")
  assert answer.status_code == 400 and "text" in answer.json()["error"]
  schemas = others.get("/openapi.json").json()["paths"]["/classify"]["post"]
  body = schemas["requestBody"]["content"]["application/json"]["schema"]
  assert len(body["anyOf"]) == 2


def test_without_a_name_the_first_run_with_these_fields_answers(others):
  def answered(path, **body):
    return others.post(path, **body).json()

  assert answered("/classify", text="Oslo")["model"] == "texts"
  assert answered("/classify", text="Oslo", model=None)["model"] == "texts"
  image_yxc, _ = Digits().open("test")[0]
  data = io.BytesIO()
  pytest.importorskip("PIL.Image").fromarray(image_yxc[..., 0]).save(data, "png")
  image = base64.b64encode(data.getvalue()).decode()
  assert answered("/classify", image=image, top=2)["model"] == "images"
  # Where a value is wrong, the error is that of the run whose fields these are; where
  # no run has them, that of the first.
  assert answered("/classify", image=5)["error"].startswith("image: expected a string")
  assert answered("/classify", tetx="a")["error"].startswith("tetx: no such field; did")
