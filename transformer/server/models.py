"""The runs that are served: each with what its task can do."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

from transformer.inference.search import Searcher
from transformer.runs.classifier import Classifier
from transformer.runs.filler import Filler
from transformer.runs.generator import Generator
from transformer.runs.run import Run
from transformer.runs.translator import Translator
from transformer.server.endpoints.base import Endpoint
from transformer.server.endpoints.classify import Classify, ClassifyImages
from transformer.server.endpoints.fill import Fill
from transformer.server.endpoints.generate import Generate
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
    found = endpoints_of(run.config.task, run, limits, int8)
    step = run.steps()[-1]
    return cls(name, run, step, {each.path: each for each in found})


@functools.singledispatch
def endpoints_of(
  task: Task, run: Run, limits: Limits, int8: bool
) -> Sequence[Endpoint]:
  """What a run of this task is served for."""
  raise ValueError(
    f"{run.path}: its task is {type(task).__name__}, of which nothing is served"
  )


@endpoints_of.register
def _(task: Translation, run, limits, int8):
  params = run.params(int8=int8)
  search = task.search
  searcher = Searcher(run.module(), params, search, limits.batch_tokens)
  translator = Translator(run, searcher)
  return Translate(limits, translator), Score(limits, translator)


@endpoints_of.register
def _(task: LanguageModelling, run, limits, int8):
  params = run.params(int8=int8)
  generator = Generator(
    run.module(), params, run.tokenizer, task.generation, task.generation_context,
    start_token=task.start_token,
  )  # fmt: skip
  return (Generate(limits, generator),)


@endpoints_of.register
def _(task: MaskedLanguageModelling, run, limits, int8):
  params = run.params(int8=int8)
  return (Fill(limits, Filler(run.module(), params, run.tokenizer, task.context)),)


@endpoints_of.register
def _(task: Classification, run, limits, int8):
  return (Classify(limits, Classifier(run, task, run.params(int8=int8))),)


@endpoints_of.register
def _(task: ImageClassification, run, limits, int8):
  return (ClassifyImages(limits, Classifier(run, task, run.params(int8=int8))),)
