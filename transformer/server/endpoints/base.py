"""A path of the API, for one run."""

import abc
import json
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, ClassVar

from starlette.responses import Response

from transformer.server.batching import Group, Item
from transformer.server.limits import Limits, Refusal
from transformer.server.requests import Request, StreamRequest

TEXT = {"type": "string"}
NUMBER = {"type": "number"}


def list_of(items: dict[str, Any]) -> dict[str, Any]:
  """The JSON Schema of a list."""
  return {"type": "array", "items": items}


def object_of(**properties: dict[str, Any]) -> dict[str, Any]:
  """The JSON Schema of an object that has just these properties."""
  return {"type": "object", "required": list(properties), "properties": properties}


class Endpoint(abc.ABC):
  """What one path does for one run.

  A request becomes items, one a text; items of a group share batches; the results are
  those of the verb of the same name, in its JSON.

  Attributes:
    path: of the API, without the slash.
    request: the class of its bodies.
    result: the JSON Schema of one result.
  """

  path: ClassVar[str]
  request: ClassVar[type[Request]]
  result: ClassVar[dict[str, Any]]

  def __init__(self, limits: Limits):
    self.limits = limits

  @abc.abstractmethod
  def items(self, request: Any) -> list[Item]:
    """The texts of a request, checked.

    Raises:
      Refusal, ValueError: the request asks for too much, or for nothing sensible.
    """

  @abc.abstractmethod
  def compute(self, settings: Any, inputs: Sequence[Any]) -> list[dict[str, Any]]:
    """The results of inputs of one group, in order; called in one thread alone."""

  def stream(self, request: Any) -> Iterator[str]:
    """The output of a request's one text, part by part; called as `compute`."""
    raise NotImplementedError

  def check_stream(self, request: Any) -> Hashable:
    """The part of a request's settings that its stream's programs are compiled for.

    Raises:
      Refusal, ValueError: it cannot be streamed.
    """
    raise Refusal(400, f"stream: /{self.path} has nothing to stream")

  @classmethod
  def content(cls) -> dict[str, Any]:
    """What an answer may be, as OpenAPI describes it: schemas by media type."""
    fields = {"model": {**TEXT, "description": "name of the run"}}
    results = object_of(**fields, results=list_of(cls.result))
    content = {"application/json": {"schema": results}}
    if issubclass(cls.request, StreamRequest):
      content["text/event-stream"] = {"schema": TEXT}
    return content

  def response(self, model: str, results: Sequence[Any]) -> Response:
    """The answer, with the results of all items in order."""
    data = json.dumps({"model": model, "results": results}, ensure_ascii=False)
    return Response(data.encode(), media_type="application/json")

  @abc.abstractmethod
  def warm_up(self) -> Iterator[str]:
    """Compiles the programs of requests with the default settings, and says which, one
    at a time."""

  def check_texts(self, texts: Sequence[Any], name: str = "text") -> None:
    """Raises Refusal if there are no texts, too many (413), or one is far too long."""
    if not texts:
      raise Refusal(400, f"{name}: expected one or more, got an empty list")
    if len(texts) > self.limits.texts:
      raise Refusal(
        413,
        f"{name}: expected at most {self.limits.texts:,} in a request, got "
        f"{len(texts):,}; send several requests",
      )

  def check_tokens(self, length: int, number: int, name: str = "text") -> None:
    """Raises Refusal if text number `number`, from 0, has too many tokens (413)."""
    if length > self.limits.tokens:
      raise Refusal(
        413,
        f"{name}: number {number + 1} has {length:,} tokens, at most "
        f"{self.limits.tokens:,} are served; split it",
      )

  def group(
    self, settings: Hashable, programs: Hashable, shape: Hashable, rows: Sequence[int]
  ) -> Group:
    """A group of items; see `Group`."""
    return Group(self, settings, (self, programs), shape, tuple(rows))
