"""`/attend` and `/beam`: the pages of `transformer.inspection`."""

import abc
import base64
import binascii
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from starlette.responses import Response

from transformer.inference.search import Search
from transformer.inspection import attention_page, search_tree_page
from transformer.inspection.attention import attention_of
from transformer.inspection.inputs import Opened
from transformer.inspection.page import HEADERS
from transformer.inspection.search_tree import beam_of
from transformer.runs.translator import Translator
from transformer.server.batching import Item
from transformer.server.endpoints.base import TEXT, Endpoint
from transformer.server.endpoints.translate import with_languages
from transformer.server.limits import Limits, Refusal
from transformer.server.requests import (
  AttendImageRequest,
  AttendRequest,
  AttendTranslationRequest,
  BeamRequest,
  SearchRequest,
)


class PageEndpoint(Endpoint):
  """Answers with one offline page, computed by itself."""

  result: ClassVar = TEXT

  @classmethod
  def content(cls) -> dict[str, Any]:
    return {"text/html": {"schema": TEXT}}

  def response(self, model: str, results: Sequence[str]) -> Response:
    (page,) = results
    return Response(page.encode(), media_type="text/html", headers=HEADERS)

  def page_item(self, settings: Any, programs: Any, value: Any) -> Item:
    """The one item of a request."""
    return Item(self.group(settings, programs, None, rows=(1,)), value)

  def compute(self, settings: Any, inputs: Sequence[Any]) -> list[Any]:
    return [self.page(settings, each) for each in inputs]

  @abc.abstractmethod
  def page(self, settings: Any, value: Any) -> str:
    """The page."""

  def warm_up(self) -> Iterator[str]:
    # Pages are looked at, one at a time; their programs may be compiled then.
    yield from ()

  def check_shown(self, length: int, name: str = "text") -> None:
    """Raises Refusal if a text has too many tokens to show (413)."""
    if length > self.limits.shown_tokens:
      raise Refusal(
        413,
        f"{name}: has {length:,} tokens, at most {self.limits.shown_tokens:,} are "
        "shown; shorten it",
      )


class Attend(PageEndpoint):
  """The attention of a model that does not translate."""

  path = "attend"
  request = AttendRequest

  def __init__(
    self,
    limits: Limits,
    opened: Callable[[], Opened],
    tokens: Callable[[str], int],
  ):
    """Shows what a model attends to.

    Args:
      limits: of the texts.
      opened: returns the run with its parameters.
      tokens: returns the number of tokens of a text.
    """
    super().__init__(limits)
    self.opened, self.tokens = opened, tokens

  def items(self, request: AttendRequest) -> list[Item]:
    self.check_shown(self.tokens(request.text))
    return [self.page_item(None, None, request.text)]

  def page(self, settings: None, value: str) -> str:
    return attention_page.page(attention_of(self.opened(), value))


class AttendImage(Attend):
  """The attention of a model to an image, which comes in the request."""

  request = AttendImageRequest  # type: ignore[assignment]

  def items(self, request: AttendImageRequest) -> list[Item]:  # type: ignore[override]
    try:
      data = base64.b64decode(request.image, validate=True)
    except (binascii.Error, ValueError):
      raise Refusal(400, "image: not base64") from None
    return [self.page_item(None, None, data)]

  def page(self, settings: None, value: bytes) -> str:  # type: ignore[override]
    with tempfile.TemporaryDirectory() as folder:
      file = Path(folder) / "image"
      file.write_bytes(value)
      try:
        return attention_page.page(attention_of(self.opened(), str(file)))
      except (OSError, ValueError) as error:
        raise ValueError(str(error).replace(f"{folder}/", "")) from None


class SearchSettings(NamedTuple):
  """How the translation of a page is searched for."""

  search: Search
  languages: tuple[str | None, str | None]


class TranslationPage(PageEndpoint):
  """A page of a run that translates."""

  def __init__(self, limits: Limits, translator: Translator):
    super().__init__(limits)
    self.translator = translator

  def translation_item(
    self, request: SearchRequest, text: str, reference: str | None = None
  ) -> Item:
    """The item of a request, checked."""
    settings = SearchSettings(request.search(self.limits), request.languages)
    translator = self.translator_of(settings)
    tokenizer = translator.run.tokenizer
    (ids,) = tokenizer.encode_sources([text])
    self.check_shown(len(ids))
    if reference is not None:
      (ids,) = tokenizer.encode([reference])
      self.check_shown(len(ids), "reference")
    programs = translator.searcher.search.program
    return self.page_item(settings, programs, (text, reference))

  def translator_of(self, settings: SearchSettings) -> Translator:
    """The run with a search and languages."""
    translator = self.translator.with_search(settings.search)
    return with_languages(translator, *settings.languages)


class AttendTranslation(TranslationPage):
  """The attention of a model that translates."""

  path = "attend"
  request = AttendTranslationRequest

  def items(self, request: AttendTranslationRequest) -> list[Item]:
    return [self.translation_item(request, request.text, request.reference)]

  def page(self, settings: SearchSettings, value: tuple[str, str | None]) -> str:
    return attention_page.page(attention_of(self.translator_of(settings), *value))


class Beam(TranslationPage):
  """The beam search of a text."""

  path = "beam"
  request = BeamRequest

  def items(self, request: BeamRequest) -> list[Item]:
    if request.beam == 1:
      raise ValueError("beam: expected 2 or more to have a tree, got 1")
    return [self.translation_item(request, request.text)]

  def page(self, settings: SearchSettings, value: tuple[str, str | None]) -> str:
    return search_tree_page.page(beam_of(self.translator_of(settings), value[0]))
