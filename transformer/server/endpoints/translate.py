"""`/translate` and `/score`."""

import dataclasses
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, NamedTuple

from transformer.decoding.penalty import LengthPenalty
from transformer.inference.batches import affordable
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
  seed: int
  prefixed: bool


class Translate(Endpoint):
  """Searches for translations."""

  path = "translate"
  request = TranslateRequest
  result = object_of(source=TEXT, hypotheses=list_of(object_of(**HYPOTHESIS)))

  def __init__(self, limits: Limits, translator: Translator):
    super().__init__(limits)
    self.translator = translator

  def translator_of(self, search: Search) -> Translator:
    """The run with another search."""
    prefix = self.translator.run.tokenizer.prefix
    return self.translator.with_search(dataclasses.replace(search, prefix=prefix))

  def items(self, request: TranslateRequest) -> list[Item]:
    search = shared_search(request.search(self.limits))
    self.check_texts(request.texts)
    tokenizer = self.translator.run.tokenizer
    prefix_length = len(tokenizer.encode([request.prefix])[0]) - 1
    self.check_tokens(prefix_length, 0, "prefix")
    settings = Settings(
      search, request.seed if search.draws else 0, bool(request.prefix)
    )
    items = []
    searcher = self.translator_of(search).searcher
    for number, (text, ids) in enumerate(
      zip(request.texts, tokenizer.encode_sources(request.texts), strict=True)
    ):
      self.check_tokens(len(ids), number)
      length = SOURCE_LENGTHS.round_up(len(ids))
      shape = length, prefix_length and SOURCE_LENGTHS.round_up(prefix_length)
      rows = searcher.row_counts(length)[-1]
      group = self.group(settings, (search, settings.prefixed), shape, rows)
      items.append(Item(group, (text, request.prefix, request.n_best)))
    return items

  def compute(self, settings: Settings, inputs: Sequence[Any]) -> list[dict[str, Any]]:
    texts, prefixes, n_best = zip(*inputs, strict=True)
    found = self.translator_of(settings.search).hypotheses(
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
    translator = self.translator_of(shared_search(request.search(self.limits)))
    return translator.stream(request.texts[0], request.prefix, request.seed)

  def warm_up(self) -> Iterator[str]:
    request = TranslateRequest(text="")
    search = request.search(self.limits)
    searcher = self.translator_of(search).searcher
    shapes = declared_shapes(self.limits.tokens, searcher.tokens, search.width)
    for length, rows in sorted(shapes):
      yield f"beam {search.beam}, {rows} x {length} tokens"
      searcher.compile(length, rows)
    greedy = dataclasses.replace(request, stream=True).search(self.limits)
    translator = self.translator_of(greedy)
    for length in SOURCE_LENGTHS.up_to(self.limits.tokens):
      yield f"streamed, {length} tokens"
      compile_stream(translator.searcher, length)


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
    tokenizer = self.translator.run.tokenizer
    sources, targets = tokenizer.encode_sources(texts), tokenizer.encode(translations)
    items = []
    for number, pair in enumerate(zip(sources, targets, strict=True)):
      for name, ids in zip(("text", "translation"), pair, strict=True):
        self.check_tokens(len(ids), number, name)
      shape = tuple(SOURCE_LENGTHS.round_up(len(ids)) for ids in pair)
      tokens = self.translator.searcher.tokens
      rows = affordable(ROWS, tokens, max(shape))[-1]
      group = self.group(penalty, penalty, shape, rows)
      items.append(Item(group, (texts[number], translations[number])))
    return items

  def compute(
    self, settings: LengthPenalty, inputs: Sequence[Any]
  ) -> list[dict[str, Any]]:
    translator = self.translator.with_search(Search(penalty=settings))
    texts, translations = zip(*inputs, strict=True)
    found: list[Hypothesis] = translator.score(texts, translations)
    return [
      {"source": text, **each._asdict()}
      for text, each in zip(texts, found, strict=True)
    ]

  def warm_up(self) -> Iterator[str]:
    yield from ()


def shared_search(search: Search) -> Search:
  """The search that computes a request's: whatever number of a beam's outputs is asked
  for, the same programs rank all of them."""
  if search.draws or search.n_best == 1:
    return search
  return dataclasses.replace(search, n_best=search.beam)
