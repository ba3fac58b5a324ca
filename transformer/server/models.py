"""The runs that are served: each with what its task can do."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformer.data.tokenizer import Tokenizer
from transformer.data.tokenizers.imported import MultilingualTokenizer
from transformer.inference.search import Searcher
from transformer.inspection.inputs import Opened
from transformer.models.base import Attends
from transformer.runs.classifier import Classifier
from transformer.runs.filler import Filler
from transformer.runs.generator import Generator
from transformer.runs.run import Run
from transformer.runs.translator import Translator
from transformer.server.endpoints.base import Endpoint
from transformer.server.endpoints.classify import Classify, ClassifyImages
from transformer.server.endpoints.fill import Fill
from transformer.server.endpoints.generate import Generate
from transformer.server.endpoints.inspection import (
  Attend,
  AttendImage,
  AttendTranslation,
  Beam,
)
from transformer.server.endpoints.translate import Score, Translate
from transformer.server.limits import Limits
from transformer.tasks.base import Task
from transformer.tasks.classification import Classification
from transformer.tasks.image_classification import ImageClassification
from transformer.tasks.language_modelling import LanguageModelling
from transformer.tasks.masked_language_modelling import MaskedLanguageModelling
from transformer.tasks.translation import Translation


@dataclasses.dataclass(frozen=True)
class Model:
  """A run that is served.

  Attributes:
    name: that requests choose it by.
    step: of its checkpoint.
    endpoints: by path.
  """

  name: str
  run: Run
  step: int
  endpoints: dict[str, Endpoint]

  @classmethod
  def open(cls, name: str, path: Path, limits: Limits, int8: bool = False) -> "Model":
    """Opens a run, at its newest checkpoint.

    Raises:
      FileNotFoundError: it is not a run, or has no checkpoint.
      ValueError: it is damaged, or its task has nothing to serve.
    """
    run = Run.open(path)
    params, step = run.checkpoint(int8=int8)
    found = endpoints_of(run.config.task, run, limits, params)
    return cls(name, run, step, {each.path: each for each in found})

  def describe(self) -> dict[str, Any]:
    """What `/models` says of it."""
    return {
      "name": self.name,
      "task": type(self.run.config.task).__name__,
      "step": self.step,
      "paths": sorted(self.endpoints),
      "languages": self.languages(),
    }

  def languages(self) -> dict[str, Any] | None:
    """The languages of sources and targets to choose from, and those that are taken
    where a request names none; None for a model of one pair."""
    recipe, vocabulary = self.run.config.tokenizer, self.run.vocabulary
    if not isinstance(recipe, MultilingualTokenizer):
      return None
    assert isinstance(vocabulary, Tokenizer)
    if not vocabulary.languages:
      return None
    return {
      "source": vocabulary.languages if recipe.chooses_source else (),
      "target": vocabulary.languages,
      "default_source": recipe.source_language or None,
      "default_target": recipe.target_language or None,
    }


@functools.singledispatch
def endpoints_of(
  task: Task, run: Run, limits: Limits, params: Any
) -> Sequence[Endpoint]:
  """What a run of this task is served for."""
  raise ValueError(
    f"{run.path}: its task is {type(task).__name__}, of which nothing is served"
  )


@endpoints_of.register
def _(task: Translation, run, limits, params):
  module = run.module()
  searcher = Searcher(module, params, task.search, limits.batch_tokens)
  kinds: list[Callable[[Limits, Translator], Endpoint]] = [Translate, Score, Beam]
  if isinstance(module, Attends):
    kinds.append(AttendTranslation)
  translator = Translator(run, searcher)
  return [kind(limits, translator) for kind in kinds]


@endpoints_of.register
def _(task: LanguageModelling, run, limits, params):
  module = run.module()
  generator = Generator(
    module, params, run.tokenizer, task.generation, task.generation_context,
    start_token=task.start_token,
  )  # fmt: skip

  def opened() -> Opened:
    return Opened(run, module.restack(generator.params))

  return Generate(limits, generator), *attention_endpoints(run, limits, opened)


@endpoints_of.register
def _(task: MaskedLanguageModelling, run, limits, params):
  filler = Filler(run.module(), params, run.tokenizer, task.context)
  opened = Opened(run, filler.params)
  return Fill(limits, filler), *attention_endpoints(run, limits, lambda: opened)


@endpoints_of.register
def _(task: Classification, run, limits, params):
  classifier = Classifier(run, task, params)
  opened = Opened.of(classifier)
  return Classify(limits, classifier), *attention_endpoints(run, limits, lambda: opened)


@endpoints_of.register
def _(task: ImageClassification, run, limits, params):
  classifier = Classifier(run, task, params)
  opened = Opened.of(classifier)
  pages = attention_endpoints(run, limits, lambda: opened, AttendImage)
  return ClassifyImages(limits, classifier), *pages


def attention_endpoints(
  run: Run, limits: Limits, opened: Callable[[], Opened], kind: type[Attend] = Attend
) -> Sequence[Endpoint]:
  """`/attend` of a model that does not translate, if it has attention."""

  def tokens(text: str) -> int:
    if isinstance(run.vocabulary, Tokenizer):
      return len(run.vocabulary.encode([text])[0])
    return len(text.split())

  if not isinstance(run.module(), Attends):
    return ()
  return (kind(limits, opened, tokens),)
