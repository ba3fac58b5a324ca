"""The application: paths, bodies, answers."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from transformer.server import bodies, openapi, page, requests
from transformer.server.batching import Batcher, Item, Stream
from transformer.server.endpoints.base import Endpoint
from transformer.server.guard import Access, Disconnected, Guard, print_line
from transformer.server.limits import Limits, Refusal
from transformer.server.metrics import Metrics
from transformer.server.models import Model
from transformer.server.streaming import EventStream, hang_up


class Api:
  """The paths of the API, for some runs."""

  def __init__(self, models: Sequence[Model], limits: Limits, batcher: Batcher):
    self.models = {model.name: model for model in models}
    self.limits, self.batcher = limits, batcher
    self.endpoints = [each for model in models for each in model.endpoints.values()]

  async def post(self, request: Request) -> Response:
    """Answers a request to one of the endpoints."""
    path = request.url.path.strip("/")
    body = await self.body(request)
    # Long bodies and tokenising would hold up other requests.
    parsed, model, endpoint = await run_in_threadpool(self.parse, path, body)
    try:
      if isinstance(parsed, requests.StreamRequest) and parsed.stream:
        return await self.stream(parsed, model, endpoint)
      items = await run_in_threadpool(endpoint.items, parsed)
    except ValueError as error:
      raise Refusal(400, str(error)) from None
    results = await self.results(request, items)
    return await run_in_threadpool(endpoint.response, model, results)

  async def body(self, request: Request) -> bytes:
    """The body.

    Raises:
      Refusal: it is no JSON (415), too large (413), or slow (408).
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
      raise Refusal(
        415, f"Content-Type: expected application/json, got {kind[:100] or 'none'!a}"
      )
    most = self.limits.body
    message = f"body: expected at most {most:,} bytes; send several requests"
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared[:20]) > most:
      raise Refusal(413, message, {"Connection": "close"})
    chunks: list[bytes] = []
    size = 0
    try:
      async with asyncio.timeout(self.limits.body_seconds):
        async for chunk in request.stream():
          chunks.append(chunk)
          size += len(chunk)
          if size > most:
            raise Refusal(413, message, {"Connection": "close"})
    except TimeoutError:
      seconds = self.limits.body_seconds
      raise Refusal(
        408, f"body: expected within {seconds:g} s", {"Connection": "close"}
      ) from None
    except ClientDisconnect:
      raise Disconnected from None
    return b"".join(chunks)

  def parse(self, path: str, body: bytes) -> tuple[Any, str, Endpoint]:
    """The request, the name of the run, and what answers it."""
    tree = bodies.read_object(body)
    found = {
      name: model.endpoints[path]
      for name, model in self.models.items()
      if path in model.endpoints
    }
    # The bodies of a path may differ from run to run, as those of texts and images do.
    suited = [n for n, endpoint in found.items() if bodies.fits(endpoint.request, tree)]
    name = [*suited, *found][0]
    given = tree.get("model")
    # What is no name at all is refused as any wrong field.
    if isinstance(given, str):
      name = given
    if name not in found:
      raise Refusal(
        400, f"model: no run {name[:100]!a} with /{path}; there are: {', '.join(found)}"
      )
    return bodies.read(found[name].request, tree, self.limits), name, found[name]

  async def results(self, request: Request, items: list[Item]) -> list[Any]:
    """The results of the texts of a request.

    Raises:
      Disconnected: the client hung up; its texts are taken out of the queue.
      Refusal: the queue is full, or a text cannot be computed.
    """
    loop = asyncio.get_running_loop()
    futures: list[asyncio.Future] = [loop.create_future() for _ in items]
    for item, future in zip(items, futures, strict=True):
      item.request, item.done = request, deliver(loop, future)
    self.batcher.submit(items)
    everything = asyncio.gather(*futures)
    watch = asyncio.ensure_future(hang_up(request.receive))
    try:
      tasks: set[asyncio.Future] = {everything, watch}
      await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
      if not everything.done():
        raise Disconnected
      return await everything
    except ValueError as error:
      raise Refusal(400, str(error)) from None
    finally:
      self.batcher.cancel(
        [i for i, f in zip(items, futures, strict=True) if not f.done()]
      )
      watch.cancel()
      everything.cancel()
      await asyncio.gather(watch, everything, return_exceptions=True)

  async def stream(self, parsed: Any, model: str, endpoint: Endpoint) -> Response:
    """The answer to a request that asks for a stream."""
    programs = await run_in_threadpool(endpoint.check_stream, parsed)
    loop = asyncio.get_running_loop()
    parts: asyncio.Queue = asyncio.Queue()
    stream = Stream(
      lambda: endpoint.stream(parsed),
      lambda part: loop.call_soon_threadsafe(parts.put_nowait, part),
      programs,
    )
    self.batcher.submit_stream(stream)
    (source,) = parsed.texts
    return EventStream(
      self.batcher,
      stream,
      parts,
      lambda text: {"model": model, "source": source, "text": text},
    )

  async def list_models(self, request: Request) -> Response:
    """The runs that are served."""
    return JSONResponse(
      {
        "models": [model.describe() for model in self.models.values()],
        "limits": {"texts": self.limits.texts, "tokens": self.limits.tokens},
      }
    )


def make_app(
  models: Sequence[Model],
  limits: Limits,
  batcher: Batcher,
  metrics: Metrics,
  access: Access,
  log=print_line,
) -> Guard:
  """The application that serves runs with a batcher that has been started."""
  api = Api(models, limits, batcher)
  document = openapi.describe(api.endpoints, bool(access.token))
  posted = {endpoint.path for endpoint in api.endpoints}

  async def describe_api(request: Request) -> Response:
    return JSONResponse(document)

  async def health(request: Request) -> Response:
    return JSONResponse({"status": "ok"})

  async def show_metrics(request: Request) -> Response:
    return Response(metrics.text(), media_type="text/plain; version=0.0.4")

  routes = [
    *(Route(f"/{path}", api.post, methods=["POST"]) for path in sorted(posted)),
    *page.routes(),
    Route("/health", health),
    Route("/models", api.list_models),
    Route("/metrics", show_metrics),
    Route("/openapi.json", describe_api),
  ]
  paths = frozenset(route.path for route in routes)

  router = Router(routes, redirect_slashes=False)

  async def app(scope: Scope, receive: Receive, send: Send) -> None:
    # The router alone: `Starlette` would put a middleware around it that answers every
    # exception by itself. With an "app" in the scope the router raises its errors.
    try:
      await router({**scope, "app": router}, receive, send)
    except HTTPException as error:
      path, known = scope["path"][:100], ", ".join(sorted(paths))
      text = {
        404: f"{path!a}: no such path; there are: {known}",
        405: f"{path!a}: {scope['method'][:20]} is not allowed here",
      }.get(error.status_code, error.detail)
      raise Refusal(error.status_code, text, dict(error.headers or {})) from None

  return Guard(app, access, metrics, paths, log)


def deliver(
  loop: asyncio.AbstractEventLoop, future: asyncio.Future
) -> Callable[[Any], object]:
  """Gives results from the model's thread to a future of the loop's."""
  return lambda result: loop.call_soon_threadsafe(resolve, future, result)


def resolve(future: asyncio.Future, result: Any) -> None:
  """Gives a result, or an error, to whoever waits for it."""
  if future.done():
    return
  if isinstance(result, Exception):
    future.set_exception(result)
  else:
    future.set_result(result)
