"""`/classify`."""

import base64
import binascii
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from transformer.inference.fill import ROWS
from transformer.runs.classifier import Classifier
from transformer.server.batching import Item
from transformer.server.endpoints.base import (
  NUMBER,
  TEXT,
  Endpoint,
  list_of,
  object_of,
)
from transformer.server.limits import Limits, Refusal
from transformer.server.requests import ClassifyImagesRequest, ClassifyRequest
from transformer.tasks.classification import Prediction, Unreadable

CLASS = object_of(**{"class": TEXT, "probability": NUMBER})


class Classify(Endpoint):
  """Classifies texts."""

  path = "classify"
  request = ClassifyRequest
  result = object_of(input=TEXT, classes=list_of(CLASS))

  def __init__(self, limits: Limits, classifier: Classifier):
    super().__init__(limits)
    self.classifier = classifier

  def items(self, request: ClassifyRequest) -> list[Item]:
    self.check_texts(request.texts)
    for number, text in enumerate(request.texts):
      # Texts are cut to the run's context; this bounds the work of splitting them.
      self.check_tokens(len(text.split()), number)
    group = self.group(None, None, None, (ROWS,))
    return [Item(group, (text, request.top)) for text in request.texts]

  def compute(self, settings: None, inputs: Sequence[Any]) -> list[dict[str, Any]]:
    texts, tops = zip(*inputs, strict=True)
    found = self.classifier.classify(texts)
    return [
      result(prediction, text, top)
      for prediction, text, top in zip(found, texts, tops, strict=True)
    ]

  def warm_up(self) -> Iterator[str]:
    return self.classifier.compile()


class ClassifyImages(Classify):
  """Classifies images, which come in the request: no file of the server is opened."""

  request = ClassifyImagesRequest  # type: ignore[assignment]

  def items(self, request: ClassifyImagesRequest) -> list[Item]:  # type: ignore[override]
    self.check_texts(request.images, "image")
    group, items = self.group(None, None, None, (ROWS,)), []
    for number, text in enumerate(request.images, start=1):
      try:
        data = base64.b64decode(text, validate=True)
      except (binascii.Error, ValueError):
        raise Refusal(400, f"image: number {number} is not base64") from None
      items.append(Item(group, (data, f"image {number}", request.top)))
    return items

  def compute(self, settings: None, inputs: Sequence[Any]) -> list[dict[str, Any]]:
    data, names, tops = zip(*inputs, strict=True)
    with tempfile.TemporaryDirectory() as folder:
      files = [Path(folder) / f"image {i}" for i in range(len(inputs))]
      for file, each in zip(files, data, strict=True):
        file.write_bytes(each)
      found = [
        each._replace(reason=each.reason.replace(f"{folder}/", ""))
        if isinstance(each, Unreadable)
        else each
        for each in self.classifier.classify(list(map(str, files)))
      ]
    return [
      result(prediction, name, top)
      for prediction, name, top in zip(found, names, tops, strict=True)
    ]


def result(prediction: Prediction | Unreadable, name: str, top: int) -> dict[str, Any]:
  """The most probable classes of one input, or why it has none."""
  if isinstance(prediction, Unreadable):
    return {"input": name, "error": prediction.reason}
  pairs = list(zip(prediction.classes, prediction.probabilities, strict=True))[:top]
  return {
    "input": name,
    "classes": [{"class": name, "probability": p} for name, p in pairs],
  }
