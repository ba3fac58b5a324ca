"""`/fill`."""

from collections.abc import Iterator, Sequence
from typing import Any

from transformer.inference.batches import TEXT_LENGTHS
from transformer.inference.fill import ROWS
from transformer.runs.filler import Filler
from transformer.server.batching import Item
from transformer.server.endpoints.base import (
  NUMBER,
  TEXT,
  Endpoint,
  list_of,
  object_of,
)
from transformer.server.limits import Limits
from transformer.server.requests import FillRequest

PIECE = object_of(piece=TEXT, probability=NUMBER)


class Fill(Endpoint):
  """Fills in masks."""

  path = "fill"
  request = FillRequest
  result = object_of(source=TEXT, text=TEXT, masks=list_of(list_of(PIECE)))

  def __init__(self, limits: Limits, filler: Filler):
    super().__init__(limits)
    self.filler = filler

  def items(self, request: FillRequest) -> list[Item]:
    self.check_texts(request.texts)
    if request.top > self.filler.tokenizer.size:
      raise ValueError(
        f"top: expected 1 to {self.filler.tokenizer.size:,}, got {request.top}"
      )
    items = []
    for number, text in enumerate(request.texts):
      ids = self.filler.encode(text)
      self.check_tokens(len(ids), number)
      shape = TEXT_LENGTHS.round_up(len(ids))
      items.append(Item(self.group(request.top, request.top, shape, (ROWS,)), text))
    return items

  def compute(self, settings: int, inputs: Sequence[str]) -> list[dict[str, Any]]:
    return [
      {
        "source": source,
        "text": filled.text,
        "masks": [
          [{"piece": each.piece, "probability": each.probability} for each in pieces]
          for pieces in filled.masks
        ],
      }
      for source, filled in zip(inputs, self.filler.fill(inputs, settings), strict=True)
    ]

  def warm_up(self) -> Iterator[str]:
    longest = min(self.limits.tokens, self.filler.context)
    for length in TEXT_LENGTHS.up_to(longest):
      yield f"{ROWS} x {length} tokens"
      self.filler.compile(length, FillRequest(text="").top)
