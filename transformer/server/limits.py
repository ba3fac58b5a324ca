"""What one request may ask for, and how much may wait."""

import dataclasses
from typing import Any

from transformer.config import check_at_least


@dataclasses.dataclass(frozen=True)
class Limits:
  """Bounds on the work and the memory that clients can cause.

  Attributes:
    body: bytes of a request's body.
    body_seconds: time to send it in.
    texts: texts in a request.
    tokens: tokens of a text, the end symbol counted.
    shown_tokens: tokens of a text whose attention or beam is shown; a page grows with
      their square.
    outputs: beam size, or samples, a text.
    output_tokens: the largest `extra`, `min_length` and `max_length`.
    queue: texts that wait for a batch, of all clients together.
    streams: outputs that are streamed at a time; others wait.
    settings: different searches or samplers that compiled programs are kept for.
    batch_tokens: source tokens times outputs in a batch.
  """

  body: int = 1 << 20
  body_seconds: float = 30.0
  texts: int = 256
  tokens: int = 256
  shown_tokens: int = 128
  outputs: int = 16
  output_tokens: int = 512
  queue: int = 1024
  streams: int = 4
  settings: int = 32
  batch_tokens: int = 4096

  def __post_init__(self):
    for field in dataclasses.fields(self):
      check_at_least(field.name, getattr(self, field.name), 1)


class Refusal(Exception):
  """A request that is answered by an error.

  Attributes:
    status: of HTTP.
    message: one line, what is wrong and how to fix it.
    headers: of the answer.
  """

  def __init__(self, status: int, message: str, headers: dict[str, str] | None = None):
    super().__init__(message)
    self.status, self.message, self.headers = status, message, headers or {}


def answer_of(refusal: Refusal) -> dict[str, Any]:
  """The body of the answer to a request that is refused."""
  return {"error": " ".join(refusal.message.split())}
