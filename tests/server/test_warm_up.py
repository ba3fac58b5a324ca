"""What is compiled before the first request."""

import jax
import pytest

from tests.interop.fixtures import write_directory
from tests.server.client import Client
from tests.server.runs import STORY, write_run
from transformer.inference import score, search, stream
from transformer.interop.convert import import_run
from transformer.interop.hf_directory import HFDirectory
from transformer.server.limits import Limits
from transformer.server.models import Model
from transformer.server.process import compile_programs
from transformer.tasks import classification, text_classification

LIMITS = Limits(tokens=16, batch_tokens=300)
PROGRAMS = (
  search.find, score.score, stream.advance, text_classification.probabilities,
  classification.log_softmax,
)  # fmt: skip


def compiled() -> list[int]:
  return [each._cache_size() for each in PROGRAMS]


def assert_nothing_is_compiled(model: Model, *requests: tuple[str, dict]) -> None:
  """Answers requests after a warm-up, without another program."""
  jax.clear_caches()
  compile_programs([model])
  before = compiled()
  assert sum(before) > 0
  client = Client(model, limits=LIMITS)
  for path, body in requests:
    answer = client.post(path, **body)
    assert answer.status_code == 200, answer.text
  client.batcher.close()
  assert compiled() == before


def test_translations_and_scores(translation_run):
  model = Model.open("tiny", translation_run, LIMITS)
  words = ["a", "a b c d e f g", "1 2 3 4 5"]
  assert_nothing_is_compiled(
    model,
    *(
      ("/score", {"text": texts, "translation": texts[::-1]})
      for texts in (words[:1], words, words * 3)
    ),
    ("/translate", {"text": words}),
    ("/translate", {"text": "a b", "stream": True}),
  )


@pytest.mark.parametrize("name", ["texts", "questions"])
def test_classes(name, tmp_path):
  model = Model.open(name, write_run(name, tmp_path), Limits(tokens=32))
  assert_nothing_is_compiled(model, ("/classify", {"text": [STORY, "a"]}))


@pytest.mark.slow
def test_a_model_of_several_languages(tmp_path):
  write_directory(tmp_path / "directory", "m2m", "m2m100", vocab_size=520)
  import_run(HFDirectory(tmp_path / "directory"), tmp_path / "run")
  model = Model.open("m2m", tmp_path / "run", LIMITS)
  assert_nothing_is_compiled(
    model, ("/translate", {"text": ["a", "a class"], "target_language": "fr"})
  )
