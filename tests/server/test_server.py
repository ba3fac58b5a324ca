"""The server answers as the verbs do, and refuses the rest in one line."""

import asyncio
import json
import random
import time

import pytest

from tests.server.client import LIMITS, Client
from tests.server.fuzz import random_body
from transformer.config import parse
from transformer.decoding.penalty import LengthPenalty
from transformer.decoding.samplers import Sampler
from transformer.inference.search import Search
from transformer.runs.translator import Translator
from transformer.server.batching import Stream, batch_rows
from transformer.server.guard import Access
from transformer.server.limits import Limits
from transformer.server.models import Model

TEXTS = ["a b c", "b", "c a a b", "b b c", ""]
TOKEN = "a token of the tests"


@pytest.fixture(scope="module")
def model(translation_run):
  return Model.open("tiny", translation_run, LIMITS)


@pytest.fixture
def client(model):
  client = Client(model)
  yield client
  client.batcher.close()


@pytest.mark.parametrize(
  ("settings", "search"),
  [
    ({}, Search()),
    ({"beam": 1, "max_length": 3}, Search(beam=1, max_length=3)),
    ({"n_best": 2, "beam": 3, "penalty": "GNMT(0.0)"}, {"beam": 3, "n_best": 2}),
    ({"sample": "TopP(0.9)", "n_best": 2, "seed": 5}, {"beam": 1, "n_best": 2}),
    ({"prefix": "b"}, Search()),
  ],
)
def test_translations_are_those_of_the_verb(client, translation_run, settings, search):
  if isinstance(search, dict):
    penalty = parse(settings.get("penalty", "GNMT(0.6)"), LengthPenalty, "penalty")
    sampler = parse(settings.get("sample", "Sampler()"), Sampler, "sample")
    search = Search(**search, penalty=penalty, sampler=sampler)
  prefix = settings.get("prefix")
  expected = Translator.open(translation_run, search).hypotheses(
    TEXTS, prefixes=prefix and [prefix] * len(TEXTS), seed=settings.get("seed", 0)
  )
  answer = client.post("/translate", text=TEXTS, **settings)
  assert answer.status_code == 200, answer.text
  got = answer.json()
  assert got["model"] == "tiny"
  assert [each["source"] for each in got["results"]] == TEXTS
  assert [[h["text"] for h in each["hypotheses"]] for each in got["results"]] == [
    [h.text for h in each] for each in expected
  ]
  scores = [h["score"] for each in got["results"] for h in each["hypotheses"]]
  assert scores == pytest.approx([h.score for each in expected for h in each], rel=1e-4)


def test_requests_that_come_together_share_batches(client):
  client.batches.clear()
  alone = [client.post("/translate", text=text).json() for text in TEXTS]
  # A batch is counted after it is answered.
  while len(client.batches) < len(TEXTS):
    time.sleep(0.01)
  client.batches.clear()
  each = [{"method": "POST", "url": "/translate", "json": {"text": t}} for t in TEXTS]
  together = [answer.json() for answer in client.send(*each * 4)]
  assert sum(client.batches) == 20 and len(client.batches) < 20
  for got, expected in zip(together, alone * 4, strict=True):
    texts = [
      [h["text"] for result in each["results"] for h in result["hypotheses"]]
      for each in (got, expected)
    ]
    assert texts[0] == texts[1]


def test_a_stream_is_the_translation(client):
  answer = client.post("/translate", text=TEXTS[0], stream=True, prefix="a b")
  assert answer.headers["content-type"].startswith("text/event-stream")
  events = [event.split("\n") for event in answer.text.strip().split("\n\n")]
  data = [json.loads(lines[1].removeprefix("data: ")) for lines in events]
  assert [lines[0] for lines in events] == ["event: token"] * (len(data) - 1) + [
    "event: end"
  ]
  expected = client.post("/translate", text=TEXTS[0], beam=1, prefix="a b").json()
  expected = expected["results"][0]["hypotheses"][0]["text"]
  assert len(data) > 2
  assert data[-1]["text"] == "".join(d["text"] for d in data[:-1]) == expected


def test_given_translations_are_scored(client, translation_run):
  expected = Translator.open(translation_run, Search()).score(TEXTS[:3], TEXTS[1:4])
  answer = client.post("/score", text=TEXTS[:3], translation=TEXTS[1:4]).json()
  got = [each["logprob"] for each in answer["results"]]
  assert got == pytest.approx([each.logprob for each in expected], rel=1e-4)


@pytest.mark.parametrize(
  ("request_", "status", "message"),
  [
    ({"json": {"tetx": "a"}}, 400, "text"),
    ({"json": {}}, 400, "body: text is missing"),
    ({"json": {"text": 1}}, 400, "text: expected a string or a list of strings"),
    ({"json": {"text": [5]}}, 400, "or a list of strings, got a list with an integer"),
    ({"json": {"text": "a", "beam": 0}}, 400, "beam: expected 1 to 16, got 0"),
    ({"json": {"text": "a", "extra": -1}}, 400, "extra: expected 0 to 512, got -1"),
    ({"json": {"text": "a", "beam": 17}}, 400, "beam: expected 1 to 16, got 17"),
    ({"json": {"text": "a", "model": "no"}}, 400, "there are: tiny"),
    ({"json": {"text": "a", "model": ""}}, 400, "no run '' with /translate; there are"),
    ({"json": {"text": "a", "model": 5}}, 400, "model: expected a string or null"),
    ({"json": {"text": "a", "target_language": "de"}}, 400, "leave the field out"),
    ({"json": {"text": ["a", "b"], "stream": True}}, 400, "stream: expected one text"),
    ({"json": {"text": "a", "penalty": "GNTM(0.6)"}}, 400, "GNMT"),
    ({"content": b"{"}, 400, "body: not JSON"),
    ({"content": b'"' + b"a" * 30_000 + b'"'}, 413, "20,000 bytes"),
    ({"json": {"text": "a " * 40}}, 413, "at most 16 are served"),
    ({"json": {"text": ["a"] * 21}}, 413, "at most 20 in a request"),
    ({"content": b"a", "headers": {"content-type": "text/plain"}}, 415, "json"),
    ({"url": "/nothing"}, 404, "no such path"),
    ({"method": "GET"}, 405, "GET is not allowed"),
    ({"url": "/score", "headers": {"host": "a.example"}}, 403, "Host"),
    ({"headers": {"origin": "https://a.example"}}, 403, "Origin"),
  ],
)  # fmt: skip
def test_what_cannot_be_answered_gets_one_line(client, request_, status, message):
  headers = {"content-type": "application/json", **request_.pop("headers", {})}
  request = {"method": "POST", "url": "/translate", "headers": headers, **request_}
  (answer,) = client.send(request)
  assert answer.status_code == status, answer.text
  error = answer.json()["error"]
  assert message in error and "\n" not in error
  assert len(client.lines) == 1 and f" {status} " in client.lines[0]


def test_a_full_queue_says_when_to_come_again(model):
  client = Client(model, limits=Limits(queue=2), start=False)
  client.batcher.submit_stream(Stream(iter, print))
  answer = client.post("/translate", text=["a", "b"])
  assert answer.status_code == 429
  assert int(answer.headers["retry-after"]) >= 1
  assert client.batcher.waiting == 1


def test_more_texts_than_may_ever_wait_are_refused_for_good(model):
  client = Client(model, limits=Limits(queue=2), start=False)
  answer = client.post("/translate", text=["a", "b", "c"])
  assert answer.status_code == 413 and "retry-after" not in answer.headers
  assert "expected at most 2 in a request" in answer.json()["error"]


def test_an_error_within_a_stream_is_logged(client, model, monkeypatch):
  def fail(_):
    raise RuntimeError("out of paper")

  monkeypatch.setattr(model.endpoints["translate"], "stream", fail)
  answer = client.post("/translate", text="a", stream=True)
  assert 'event: error\ndata: {"error": "internal error"}' in answer.text
  (line,) = client.lines
  assert "RuntimeError: out of paper" in line


def test_a_client_that_hangs_up_frees_its_place(model):
  client = Client(model, start=False)
  body = json.dumps({"text": ["a", "b"]}).encode()
  scope = {
    "type": "http", "method": "POST", "path": "/translate", "raw_path": b"/translate",
    "query_string": b"", "headers": [
      (b"host", b"localhost"), (b"content-type", b"application/json")
    ],
  }  # fmt: skip

  async def hang_up():
    messages = [{"type": "http.request", "body": body}]
    waiting = []

    async def receive():
      if messages:
        return messages.pop()
      while not client.batcher.waiting:
        await asyncio.sleep(0.001)
      waiting.append(client.batcher.waiting)
      return {"type": "http.disconnect"}

    async def send(message):
      raise AssertionError(f"sent to nobody: {message}")

    await asyncio.wait_for(client.app(scope, receive, send), 30)
    return waiting

  assert asyncio.run(hang_up()) == [2]
  assert client.batcher.waiting == 0
  assert " 499 " in client.lines[0]


def test_a_token_is_needed_where_there_is_one(model):
  client = Client(
    model, access=Access(TOKEN, False, frozenset({"/health"})), start=False
  )
  request = {"method": "GET", "url": "/models"}
  statuses = [
    answer.status_code
    for answer in client.send(
      request,
      {**request, "headers": {"authorization": "Bearer another one"}},
      {**request, "headers": {"authorization": f"Bearer {TOKEN}"}},
      {**request, "url": "/health"},
    )
  ]
  assert statuses == [401, 401, 200, 200]


def test_random_bodies_are_refused_in_one_line(client):
  draw = random.Random(0)
  headers = {"content-type": "application/json"}
  requests = [
    {"method": "POST", "url": "/translate", "headers": headers,
     "content": random_body(draw)}
    for _ in range(1000)
  ]  # fmt: skip
  for request, answer in zip(requests, client.send(*requests), strict=True):
    assert 400 <= answer.status_code < 500, (request, answer.text)
    assert list(answer.json()) == ["error"] and "\n" not in answer.json()["error"]
  assert len(client.lines) == len(requests)


def test_the_description_has_every_field_and_metrics_count(client):
  client.post("/translate", text="a")
  described, metrics = client.send(
    {"method": "GET", "url": "/openapi.json"}, {"method": "GET", "url": "/metrics"}
  )
  document = described.json()
  assert document["openapi"] == "3.1.0"
  assert {"/translate", "/score", "/health"} <= set(document["paths"])
  schema = document["components"]["schemas"]["TranslateRequest"]
  assert schema["required"] == ["text"]
  beam, model_ = (schema["properties"][name] for name in ("beam", "model"))
  assert (beam["minimum"], beam["maximum"]) == (1, LIMITS.outputs)
  assert "limit" not in beam and model_["default"] is None
  assert 'transformer_requests_total{path="/translate",status="200"} 1.0' in (
    metrics.text
  )


@pytest.mark.parametrize(
  ("waiting", "rows"), [(1, 1), (2, 8), (8, 8), (13, 8), (24, 32), (64, 32), (128, 128)]
)
def test_padding_is_not_the_larger_part_of_a_batch(waiting, rows):
  assert batch_rows((1, 8, 32, 128), waiting) == rows
