"""The API in OpenAPI 3.1, made from the same classes that read requests."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from transformer import config as configs
from transformer.config.recipes import alternatives
from transformer.server.bodies import schema_of
from transformer.server.endpoints.base import Endpoint
from transformer.server.limits import Limits
from transformer.server.requests import Request

ERRORS = {
  400: "the body is broken, or its settings contradict each other",
  401: "the token is missing or wrong",
  403: "another site's page asks, or by another name",
  408: "the body took too long",
  413: "the body or a text is too long",
  415: "the body is not JSON",
  429: "the queue is full; Retry-After says when to come again",
}


def describe(endpoints: Sequence[Endpoint], token: bool) -> dict[str, Any]:
  """The whole description; `token` is whether one is needed."""
  by_path: dict[str, list[Endpoint]] = {}
  for endpoint in endpoints:
    by_path.setdefault(endpoint.path, []).append(endpoint)
  bodies = {each.request.__name__: each for each in endpoints}
  document: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "transformer serve", "version": "1"},
    "paths": {
      f"/{path}": {"post": operation(*found)} for path, found in by_path.items()
    },
    "components": {
      "schemas": {
        "Error": {
          "type": "object",
          "required": ["error"],
          "properties": {"error": {"type": "string"}},
        },
        **{name: schema(each.request, each.limits) for name, each in bodies.items()},
      }
    },
  }
  plain = {"/health": "that the server answers", "/models": "the runs that are served"}
  for path, text in plain.items():
    document["paths"][path] = {"get": read_operation(path, text, "application/json")}
  text = "counters in Prometheus' text format"
  document["paths"]["/metrics"] = {
    "get": read_operation("/metrics", text, "text/plain")
  }
  if token:
    scheme = {"type": "http", "scheme": "bearer"}
    document["components"]["securitySchemes"] = {"token": scheme}
    document["security"] = [{"token": []}]
  return document


def operation(*endpoints: Endpoint) -> dict[str, Any]:
  """The POST of one path, whose bodies may differ from run to run."""
  endpoint = endpoints[0]
  errors = {
    str(status): {
      "description": text,
      "content": {
        "application/json": {"schema": {"$ref": "#/components/schemas/Error"}}
      },
    }
    for status, text in ERRORS.items()
  }
  names = dict.fromkeys(each.request.__name__ for each in endpoints)
  references = [{"$ref": f"#/components/schemas/{name}"} for name in names]
  body = references[0] if len(references) == 1 else {"anyOf": references}
  return {
    "operationId": endpoint.path,
    "summary": (endpoint.request.__doc__ or "").split("\n")[0],
    "requestBody": {
      "required": True,
      "content": {"application/json": {"schema": body}},
    },
    "responses": {
      "200": {
        "description": "a result for each text, in order",
        "content": endpoint.content(),
      },
      **errors,
    },
  }


def read_operation(path: str, text: str, kind: str) -> dict[str, Any]:
  """The GET of one path."""
  return {
    "operationId": path.strip("/"),
    "responses": {"200": {"description": text, "content": {kind: {}}}},
  }


def schema(request: type[Request], limits: Limits) -> dict[str, Any]:
  """The JSON Schema of a body, with a server's limits."""
  properties, required = {}, []
  types = configs.annotations(request)
  for field in dataclasses.fields(request):
    kinds = [KINDS[each] for each in alternatives(types[field.name])]
    one = kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
    properties[field.name] = {**one, **schema_of(field, limits)}
    if field.default is dataclasses.MISSING:
      required.append(field.name)
    else:
      properties[field.name]["default"] = field.default
  return {
    "type": "object",
    "description": request.__doc__,
    "properties": properties,
    "required": required,
    "additionalProperties": False,
  }


KINDS: dict[Any, dict[str, Any]] = {
  str: {"type": "string"},
  int: {"type": "integer"},
  bool: {"type": "boolean"},
  type(None): {"type": "null"},
  tuple[str, ...]: {"type": "array", "items": {"type": "string"}, "minItems": 1},
}
"""The types of fields."""
