"""What holds for every request: who may ask, one line in the log, and no traceback."""

import asyncio
import dataclasses
import hmac
import sys
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from transformer.server.limits import Refusal, answer_of
from transformer.server.metrics import Metrics

LOOPBACK = ("127.0.0.1", "localhost", "::1")

CLIENT_CLOSED_REQUEST = 499
"""The status of a request whose client hung up, in the log and the metrics alone; the
number is nginx's."""

HEADERS = {
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Cache-Control": "no-store",
  "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""Of every answer that does not say otherwise."""


@dataclasses.dataclass(frozen=True)
class Access:
  """Who may ask.

  Attributes:
    token: that requests must have; none if empty.
    loopback: the names in `Host` must be the machine's own. Otherwise any page that a
      browser of this machine shows could reach the server by a name that its author
      resolves to 127.0.0.1 (DNS rebinding).
    open_paths: for which no token is needed.
  """

  token: str = ""
  loopback: bool = True
  open_paths: frozenset[str] = frozenset()

  def check(self, method: str, path: str, headers: Headers) -> None:
    """Raises Refusal if a request may not be answered (401 or 403)."""
    host = headers.get("host", "")
    if self.loopback and host_name(host) not in LOOPBACK:
      raise Refusal(
        403, f"Host: {host[:100]!a} is not this server; use 127.0.0.1 or localhost"
      )
    origin = headers.get("origin")
    if origin is not None and urlsplit_host(origin) != host.lower():
      raise Refusal(
        403, f"Origin: {origin[:100]!a} is another site; pages of others may not ask"
      )
    if self.token and path not in self.open_paths:
      scheme, _, given = headers.get("authorization", "").partition(" ")
      matches = hmac.compare_digest(given.strip().encode(), self.token.encode())
      if scheme.lower() != "bearer" or not matches:
        raise Refusal(
          401,
          "Authorization: expected Bearer TOKEN, the token that the server was "
          "started with",
          {"WWW-Authenticate": "Bearer"},
        )


def host_name(host: str) -> str:
  """The name in a `Host` header, without the port."""
  if host.startswith("["):
    return host[1:].partition("]")[0]
  return host.partition(":")[0].lower()


def urlsplit_host(origin: str) -> str | None:
  """Name and port of an `Origin` header; None if it has none, such as `null`."""
  try:
    return urlsplit(origin).netloc.lower() or None
  except ValueError:
    return None


class Guard:
  """ASGI middleware around the whole application."""

  def __init__(
    self,
    app: ASGIApp,
    access: Access,
    metrics: Metrics,
    paths: frozenset[str],
    log: Callable[[str], None],
  ):
    """Wraps an application.

    Args:
      app: the application.
      access: who may ask.
      metrics: counts the requests.
      paths: those that are counted by name.
      log: called with a line for each request.
    """
    self._app, self._access, self._metrics = app, access, metrics
    self._paths, self._log = paths, log

  async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
      await self._app(scope, receive, send)
      return
    start, path = time.monotonic(), scope["path"]
    status = CLIENT_CLOSED_REQUEST
    note = ""

    async def send_with_headers(message: Message) -> None:
      nonlocal status
      if message["type"] == "http.response.start":
        status = message["status"]
        headers = MutableHeaders(scope=message)
        for name, value in HEADERS.items():
          headers.setdefault(name, value)
      await send(message)

    try:
      self._access.check(scope["method"], path, Headers(scope=scope))
      await self._app(scope, receive, send_with_headers)
    except Refusal as refusal:
      note = refusal.message
      response = JSONResponse(answer_of(refusal), refusal.status, refusal.headers)
      await response(scope, receive, send_with_headers)
    except Disconnected:
      status = CLIENT_CLOSED_REQUEST
    except asyncio.CancelledError:
      status = CLIENT_CLOSED_REQUEST
      raise
    except Exception as error:
      note = f"{type(error).__name__}: {error}"
      if status == CLIENT_CLOSED_REQUEST:
        response = JSONResponse({"error": "internal error; see the server's log"}, 500)
        await response(scope, receive, send_with_headers)
    finally:
      seconds = time.monotonic() - start
      self._metrics.request(path if path in self._paths else "other", status, seconds)
      client = (scope.get("client") or ("-",))[0]
      target = scope.get("raw_path", b"").decode("ascii", "backslashreplace")
      self._log(log_line(client, scope["method"], target, status, seconds, note))


class Disconnected(Exception):
  """The client hung up before its answer."""


def log_line(
  client: str, method: str, target: str, status: int, seconds: float, note: str
) -> str:
  """The line of one request; what clients send cannot break it."""
  now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
  words = f"{now} {client} {method} {target[:200]} {status} {seconds:.3f}s {note[:300]}"
  return " ".join(ascii(words)[1:-1].split())


def print_line(line: str) -> None:
  """Writes a line of the log to standard error."""
  print(line, file=sys.stderr, flush=True)
