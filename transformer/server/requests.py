"""The bodies of requests: a dataclass each, which `bodies.read` reads from JSON.

The same fields make the OpenAPI description (`openapi.py`), so that both agree.
"""

import dataclasses
from typing import Any

from transformer import config as configs
from transformer.decoding.penalty import LengthPenalty
from transformer.decoding.samplers import Sampler
from transformer.inference.generate import Generation
from transformer.inference.search import Search
from transformer.server.bodies import field
from transformer.server.limits import Limits

MAX_SEED = 2**32 - 1
MAX_RECIPE = 200
"""Characters of a penalty or a sampler."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
  """What the bodies of all requests have."""

  model: str | None = field(
    "name of the run; the first of this path whose bodies have these fields, if null",
    None,
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextRequest(Request):
  """A request about one text or several."""

  text: str | tuple[str, ...] = field("one text, or a list of texts")

  @property
  def texts(self) -> tuple[str, ...]:
    """The texts, also where there is one."""
    return (self.text,) if isinstance(self.text, str) else self.text


@dataclasses.dataclass(frozen=True, kw_only=True)
class StreamRequest(TextRequest):
  """A request whose answer may come token by token."""

  stream: bool = field("send one text token by token, as server-sent events", False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LanguagesRequest(Request):
  """A request to a model that may have several languages."""

  source_language: str | None = field(
    "language of the texts, for a model of several; that of the run if null", None
  )
  target_language: str | None = field("language of the translations, likewise", None)

  @property
  def languages(self) -> tuple[str | None, str | None]:
    """Source and target language."""
    return self.source_language, self.target_language


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchRequest(LanguagesRequest):
  """A request that searches for translations."""

  beam: int | None = field(
    "beam size; 1 is greedy search; 4 if null, or 1 to sample or to stream",
    None,
    minimum=1,
    limit="outputs",
  )
  penalty: str = field("length penalty, such as GNMT(0.6)", "GNMT(0.6)")
  extra: int = field(
    "outputs have up to this many tokens more than their text",
    50,
    minimum=0,
    limit="output_tokens",
  )
  min_length: int = field(
    "shortest output in tokens", 0, minimum=0, limit="output_tokens"
  )
  max_length: int | None = field(
    "longest output in tokens, whatever the text",
    None,
    minimum=1,
    limit="output_tokens",
  )

  def search(self, limits: Limits) -> Search:
    """The search that it describes.

    Raises:
      ValueError: its settings contradict each other, or exceed a limit.
    """
    beam = self.default_beam if self.beam is None else self.beam
    check_outputs(limits, beam=beam)
    check_output_tokens(
      limits,
      extra=self.extra,
      min_length=self.min_length,
      max_length=self.max_length or 0,
    )
    return Search(
      beam=beam,
      penalty=recipe(LengthPenalty, "penalty", self.penalty),
      extra=self.extra,
      min_length=self.min_length,
      max_length=self.max_length,
    )

  @property
  def default_beam(self) -> int:
    """The beam size where none is given."""
    return 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class TranslateRequest(StreamRequest, SearchRequest):
  """Translate texts."""

  n_best: int = field(
    "outputs a text, no two nearly the same; samples, with `sample`",
    1,
    minimum=1,
    limit="outputs",
  )
  prefix: str = field("how every translation begins", "")
  sample: str | None = field("a sampler, such as TopP(0.9); null searches", None)
  seed: int = field("random seed of `sample`", 0, minimum=0, maximum=MAX_SEED)

  def search(self, limits: Limits) -> Search:
    check_outputs(limits, n_best=self.n_best)
    sampler = (
      Sampler() if self.sample is None else recipe(Sampler, "sample", self.sample)
    )
    found = super().search(limits)
    return dataclasses.replace(found, n_best=self.n_best, sampler=sampler)

  @property
  def default_beam(self) -> int:
    return 4 if self.sample is None and not self.stream else 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class BeamRequest(SearchRequest):
  """Show the beam search of a translation as a page."""

  text: str = field("the text to translate")


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttendRequest(Request):
  """Show what a model attends to in a text, as a page."""

  text: str = field("the text")


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttendImageRequest(Request):
  """Show what a model attends to in an image, as a page."""

  image: str = field("an image file in base64")


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttendTranslationRequest(SearchRequest):
  """Show what a model attends to while it translates, as a page."""

  text: str = field("the text to translate")
  reference: str | None = field("a translation to show; the model's own if null", None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoreRequest(TextRequest, LanguagesRequest):
  """Score given translations by their log-probability."""

  translation: str | tuple[str, ...] = field("the translation of each text")
  penalty: str = field("length penalty, such as GNMT(0.6)", "GNMT(0.6)")

  @property
  def translations(self) -> tuple[str, ...]:
    """The translations, also where there is one."""
    given = self.translation
    return (given,) if isinstance(given, str) else given


@dataclasses.dataclass(frozen=True, kw_only=True)
class GenerateRequest(StreamRequest):
  """Continue texts with a language model."""

  text: str | tuple[str, ...] = field("a prompt, or a list of prompts", "")
  sample: str = field("a sampler; Sampler() is greedy", "TopP(0.9)")
  samples: int = field("continuations of each prompt", 1, minimum=1, limit="outputs")
  max_length: int = field("the most new tokens", 64, minimum=1, limit="output_tokens")
  seed: int = field("random seed", 0, minimum=0, maximum=MAX_SEED)

  def generation(self, limits: Limits) -> Generation:
    """The recipe that it describes.

    Raises:
      ValueError: a setting exceeds a limit.
    """
    check_outputs(limits, samples=self.samples)
    check_output_tokens(limits, max_length=self.max_length)
    return Generation(
      recipe(Sampler, "sample", self.sample), self.max_length, self.samples, self.seed
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassifyRequest(TextRequest):
  """Classify texts."""

  top: int = field("the most probable classes of each text", 1, minimum=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassifyImagesRequest(Request):
  """Classify images."""

  image: str | tuple[str, ...] = field("an image file in base64, or a list of them")
  top: int = field("the most probable classes of each image", 1, minimum=1)

  @property
  def images(self) -> tuple[str, ...]:
    """The images, also where there is one."""
    return (self.image,) if isinstance(self.image, str) else self.image


@dataclasses.dataclass(frozen=True, kw_only=True)
class FillRequest(TextRequest):
  """Fill every [MASK] of texts with its most probable pieces."""

  top: int = field("pieces of each mask", 5, minimum=1)


def recipe(family: type, name: str, text: str) -> Any:
  """The member of a recipe family that a field writes, such as `TopP(0.9)`; literals
  alone, nothing is evaluated.

  Raises:
    ValueError: it writes none.
  """
  if len(text) > MAX_RECIPE:
    raise ValueError(f"{name}: expected at most {MAX_RECIPE} characters")
  message = "; if it is defined"
  try:
    return configs.parse(text, family, name)
  except ValueError as error:
    # What --import could do is of no use to a client.
    raise ValueError(str(error).partition(message)[0]) from None


def check_outputs(limits: Limits, **values: int) -> None:
  """Raises ValueError if there are more outputs a text than the server computes."""
  for name, value in values.items():
    if value > limits.outputs:
      raise ValueError(f"{name}: expected 1 to {limits.outputs}, got {value}")


def check_output_tokens(limits: Limits, **values: int) -> None:
  """Raises ValueError if outputs may become longer than the server makes them."""
  for name, value in values.items():
    if value > limits.output_tokens:
      raise ValueError(f"{name}: expected at most {limits.output_tokens}, got {value}")
