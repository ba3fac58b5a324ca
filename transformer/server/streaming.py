"""Answers that come part by part, as server-sent events (WHATWG HTML, §9.2)."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from transformer.server.batching import Batcher, Stream
from transformer.server.guard import Disconnected


async def hang_up(receive: Receive) -> None:
  """Returns when the client hangs up; its body must have been read."""
  while (await receive())["type"] != "http.disconnect":
    pass


def event(name: str, data: Any) -> bytes:
  """One event; JSON has no line feeds, so the data are one line."""
  return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


class EventStream(Response):
  """Sends an event `token` for each part of an output, then `end`, or `error`. An error
  that is none of the request's is raised too, for the log.

  The client's place is given back as soon as it hangs up.
  """

  def __init__(
    self,
    batcher: Batcher,
    stream: Stream,
    parts: asyncio.Queue,
    end: Callable[[str], dict[str, Any]],
  ):
    """Streams what a submitted `stream` puts into `parts`; `end` makes the data of the
    last event from the whole text."""
    super().__init__(media_type="text/event-stream")
    del self.headers["content-length"]
    self._batcher, self._stream, self._parts, self._end = batcher, stream, parts, end

  async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
    watch = asyncio.create_task(hang_up(receive))
    sending = asyncio.create_task(self._send(send))
    try:
      await asyncio.wait({watch, sending}, return_when=asyncio.FIRST_COMPLETED)
      if not sending.done():
        raise Disconnected
      await sending
    finally:
      self._batcher.cancel_stream(self._stream)
      for task in (watch, sending):
        task.cancel()
      await asyncio.gather(watch, sending, return_exceptions=True)

  async def _send(self, send: Send) -> None:
    await send(
      {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
    )
    text = ""
    while True:
      part = await self._parts.get()
      if isinstance(part, str):
        text += part
        if part:
          await self._body(send, event("token", {"text": part}))
        continue
      if part is None:
        last = event("end", self._end(text))
      else:
        known = isinstance(part, ValueError)
        last = event("error", {"error": str(part) if known else "internal error"})
      await self._body(send, last, more=False)
      if isinstance(part, Exception) and not isinstance(part, ValueError):
        raise part
      return

  async def _body(self, send: Send, data: bytes, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": more})
