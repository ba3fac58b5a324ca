"""A client of an application in this process."""

import asyncio

import httpx
import jax

from transformer.server.app import make_app
from transformer.server.batching import Batcher
from transformer.server.guard import Access
from transformer.server.limits import Limits
from transformer.server.metrics import Metrics
from transformer.server.models import Model

LIMITS = Limits(tokens=16, queue=40, body=20_000, texts=20)


class Client:
  """Sends requests to an application in this process.

  Attributes:
    lines: the log.
    batches: the rows of every batch.
  """

  def __init__(self, *models: Model, access=Access(), limits=LIMITS, start=True):
    self.lines: list[str] = []
    self.batches: list[int] = []
    self.batcher = Batcher(
      limits, lambda rows, _: self.batches.append(rows), jax.clear_caches
    )
    metrics = Metrics(lambda: self.batcher.waiting)
    self.app = make_app(
      models, limits, self.batcher, metrics, access, self.lines.append
    )
    if start:
      self.batcher.start()

  def send(self, *requests: dict) -> list[httpx.Response]:
    """The answers to requests that are sent at once."""

    async def send_all():
      transport = httpx.ASGITransport(self.app)
      async with httpx.AsyncClient(
        transport=transport, base_url="http://127.0.0.1", timeout=60
      ) as client:
        sent = asyncio.gather(*(client.request(**each) for each in requests))
        return await asyncio.wait_for(sent, 60)

    return asyncio.run(send_all())

  def get(self, path: str) -> httpx.Response:
    """What a path has."""
    (answer,) = self.send({"method": "GET", "url": path})
    return answer

  def post(self, path: str, **body) -> httpx.Response:
    """The answer to one request."""
    (answer,) = self.send({"method": "POST", "url": path, "json": body})
    return answer
