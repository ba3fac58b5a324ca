"""`/translate` and `/score`."""

import dataclasses
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, NamedTuple

from transformer.decoding.penalty import LengthPenalty
from transformer.inference.batches import affordable
from transformer.inference.score import compile_score, padded_length
from transformer.inference.search import ROWS, SOURCE_LENGTHS, Search, declared_shapes
from transformer.inference.stream import compile_stream
from transformer.runs.translator import Hypothesis, Translator
from transformer.server.batching import Item
from transformer.server.endpoints.base import (
  NUMBER,
  TEXT,
  Endpoint,
  list_of,
  object_of,
)
from transformer.server.limits import Limits
from transformer.server.requests import (
  ScoreRequest,
  TranslateRequest,
  recipe,
)

HYPOTHESIS = {
  "text": TEXT,
  "score": {**NUMBER, "description": "logprob under the length penalty"},
  "logprob": {**NUMBER, "description": "nats"},
  "tokens": list_of(TEXT),
  "token_logprobs": list_of(NUMBER),
}


class Settings(NamedTuple):
  """What the texts of a batch of translations have in common."""

  search: Search
  languages: tuple[str | None, str | None]
  seed: int
  prefixed: bool


class ScoreSettings(NamedTuple):
  """What the texts of a batch of scores have in common."""

  penalty: LengthPenalty
  languages: tuple[str | None, str | None]


class Translate(Endpoint):
  """Searches for translations."""

  path = "translate"
  request = TranslateRequest
  result = object_of(source=TEXT, hypotheses=list_of(object_of(**HYPOTHESIS)))

  def __init__(self, limits: Limits, translator: Translator):
    super().__init__(limits)
    self.translator = translator

  def items(self, request: TranslateRequest) -> list[Item]:
    search = shared_search(request.search(self.limits))
    self.check_texts(request.texts)
    translator = with_languages(self.translator.with_search(search), *request.languages)
    tokenizer, searcher = translator.run.tokenizer, translator.searcher
    prefix_length = 0
    if request.prefix:
      prefix_length = len(tokenizer.encode([request.prefix])[0]) - 1
    self.check_tokens(prefix_length, 0, "prefix")
    seed = request.seed if search.draws else 0
    settings = Settings(search, request.languages, seed, bool(request.prefix))
    programs = searcher.search.program, settings.prefixed
    items = []
    for number, (text, ids) in enumerate(
      zip(request.texts, tokenizer.encode_sources(request.texts), strict=True)
    ):
      self.check_tokens(len(ids), number)
      length = SOURCE_LENGTHS.round_up(len(ids))
      shape = length, prefix_length and SOURCE_LENGTHS.round_up(prefix_length)
      rows = searcher.row_counts(length)
      group = self.group(settings, programs, shape, rows)
      items.append(Item(group, (text, request.prefix, request.n_best)))
    return items

  def compute(self, settings: Settings, inputs: Sequence[Any]) -> list[dict[str, Any]]:
    texts, prefixes, n_best = zip(*inputs, strict=True)
    translator = with_languages(
      self.translator.with_search(settings.search), *settings.languages
    )
    found = translator.hypotheses(
      texts, prefixes=prefixes if settings.prefixed else None, seed=settings.seed
    )
    return [
      {"source": text, "hypotheses": [h._asdict() for h in hypotheses[:n]]}
      for text, hypotheses, n in zip(texts, found, n_best, strict=True)
    ]

  def check_stream(self, request: TranslateRequest) -> Hashable:
    search = request.search(self.limits)
    if len(request.texts) != 1 or request.n_best > 1 or search.beam > 1:
      raise ValueError(
        "stream: expected one text, a beam of 1 and one output, for a beam's best "
        "output is known only at its end"
      )
    (item,) = self.items(request)
    return item.group.programs, "stream"

  def stream(self, request: TranslateRequest) -> Iterator[str]:
    search = shared_search(request.search(self.limits))
    translator = with_languages(self.translator.with_search(search), *request.languages)
    return translator.stream(request.texts[0], request.prefix, request.seed)

  def warm_up(self) -> Iterator[str]:
    request = TranslateRequest(text="")
    search = request.search(self.limits)
    translator = with_some_language(self.translator)
    searcher = with_languages(translator.with_search(search)).searcher
    shapes = declared_shapes(self.limits.tokens, searcher.tokens, search.width)
    for length, rows in sorted(shapes):
      yield f"beam {search.beam}, {rows} x {length} tokens"
      searcher.compile(length, rows)
    greedy = dataclasses.replace(request, stream=True).search(self.limits)
    searcher = with_languages(translator.with_search(greedy)).searcher
    for length in SOURCE_LENGTHS.up_to(self.limits.tokens):
      yield f"streamed, {length} tokens"
      compile_stream(searcher, length)


class Score(Endpoint):
  """Scores given translations."""

  path = "score"
  request = ScoreRequest
  result = object_of(source=TEXT, **HYPOTHESIS)

  def __init__(self, limits: Limits, translator: Translator):
    super().__init__(limits)
    self.translator = translator

  def items(self, request: ScoreRequest) -> list[Item]:
    texts, translations = request.texts, request.translations
    self.check_texts(texts)
    if len(texts) != len(translations):
      raise ValueError(
        f"translation: expected {len(texts)}, one for each text, got "
        f"{len(translations)}"
      )
    penalty = recipe(LengthPenalty, "penalty", request.penalty)
    tokenizer = with_languages(self.translator, *request.languages).run.tokenizer
    sources, targets = tokenizer.encode_sources(texts), tokenizer.encode(translations)
    settings = ScoreSettings(penalty, request.languages)
    items = []
    for number, pair in enumerate(zip(sources, targets, strict=True)):
      for name, ids in zip(("text", "translation"), pair, strict=True):
        self.check_tokens(len(ids), number, name)
      length = padded_length(*map(len, pair))
      rows = affordable(ROWS, self.translator.searcher.tokens, length)
      group = self.group(settings, penalty, length, rows)
      items.append(Item(group, (texts[number], translations[number])))
    return items

  def compute(
    self, settings: ScoreSettings, inputs: Sequence[Any]
  ) -> list[dict[str, Any]]:
    translator = with_languages(
      self.translator.with_search(Search(penalty=settings.penalty)),
      *settings.languages,
    )
    texts, translations = zip(*inputs, strict=True)
    found: list[Hypothesis] = translator.score(texts, translations)
    return [
      {"source": text, **each._asdict()}
      for text, each in zip(texts, found, strict=True)
    ]

  def warm_up(self) -> Iterator[str]:
    request = ScoreRequest(text="", translation="")
    penalty = recipe(LengthPenalty, "penalty", request.penalty)
    searcher = self.translator.with_search(Search(penalty=penalty)).searcher
    shapes = declared_shapes(self.limits.tokens, searcher.tokens, width=1)
    for length, rows in sorted(shapes):
      yield f"{rows} x {length} tokens"
      compile_score(searcher, length, rows)


def with_languages(
  translator: Translator, source: str | None = None, target: str | None = None
) -> Translator:
  """A run with the languages of a request.

  Raises:
    ValueError: it has no such language, in the words of a request's fields.
  """
  try:
    return translator.with_languages(source, target)
  except ValueError as error:
    message = str(error).replace("transformer info shows", "GET /models has")
    for flag in ("--source-language", "--target-language"):
      message = message.replace(flag, flag.strip("-").replace("-", "_"))
    message = message.replace("leave the flag out", "leave the field out")
    raise ValueError(message) from None


def with_some_language(translator: Translator) -> Translator:
  """A run with a target language, where it has several and none is its own: programs
  are the same for all of them."""
  try:
    return translator.with_languages(None, None)
  except ValueError:
    return translator.with_languages(None, translator.run.tokenizer.languages[0])


def shared_search(search: Search) -> Search:
  """The search that computes a request's: whatever number of a beam's outputs is asked
  for, the same programs rank all of them."""
  if search.draws or search.n_best == 1:
    return search
  return dataclasses.replace(search, n_best=search.beam)
