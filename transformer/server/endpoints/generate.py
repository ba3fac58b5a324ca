"""`/generate`."""

import dataclasses
from collections.abc import Hashable, Iterator, Sequence

from transformer.inference.generate import ROWS, Generation
from transformer.runs.generator import Generator
from transformer.server.batching import Item
from transformer.server.endpoints.base import TEXT, Endpoint, list_of, object_of
from transformer.server.limits import Limits
from transformer.server.requests import GenerateRequest


class Generate(Endpoint):
  """Continues prompts."""

  path = "generate"
  request = GenerateRequest
  result = object_of(prompt=TEXT, texts=list_of(TEXT))

  def __init__(self, limits: Limits, generator: Generator):
    super().__init__(limits)
    self.generator = generator

  def items(self, request: GenerateRequest) -> list[Item]:
    recipe = request.generation(self.limits)
    self.check_texts(request.texts)
    generator, items = self.generator.with_recipe(recipe), []
    encoded = generator.encode(request.texts)
    for number, (text, ids) in enumerate(zip(request.texts, encoded, strict=True)):
      self.check_tokens(len(ids), number)
      programs = dataclasses.replace(recipe, seed=0, max_length=1)
      group = self.group(recipe, programs, generator.capacity(ids), ROWS)
      items.append(Item(group, text))
    return items

  def compute(self, settings: Generation, inputs: Sequence[str]) -> list[dict]:
    found = self.generator.with_recipe(settings).texts(inputs)
    return [
      {"prompt": prompt, "texts": texts}
      for prompt, texts in zip(inputs, found, strict=True)
    ]

  def check_stream(self, request: GenerateRequest) -> Hashable:
    if len(request.texts) != 1 or request.samples > 1:
      raise ValueError("stream: expected one text and one sample")
    (item,) = self.items(request)
    return item.group.programs, "stream"

  def stream(self, request: GenerateRequest) -> Iterator[str]:
    generator = self.generator.with_recipe(request.generation(self.limits))
    return generator.stream(request.texts[0])

  def warm_up(self) -> Iterator[str]:
    request = GenerateRequest(text="")
    if request.max_length > self.generator.context:
      return
    generator = self.generator.with_recipe(request.generation(self.limits))
    longest = min(self.limits.tokens, generator.context - request.max_length)
    for capacity in generator.capacities(longest):
      for rows in ROWS:
        yield f"{rows} x {capacity} tokens"
        generator.compile(capacity, rows)
      yield f"streamed, {capacity} tokens"
      generator.compile_stream(capacity)
