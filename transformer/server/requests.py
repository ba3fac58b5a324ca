"""The bodies of requests: a dataclass each, read from JSON and checked.

The same fields make the OpenAPI description (`openapi.py`), so that both agree.
"""

import dataclasses
from typing import Any, TypeVar

from transformer import config as configs
from transformer.config.recipes import abbreviate, alternatives, no_such_field
from transformer.config.validation import Mismatch, coerce
from transformer.decoding.penalty import LengthPenalty
from transformer.decoding.samplers import Sampler
from transformer.inference.generate import Generation
from transformer.inference.search import Search
from transformer.server.limits import Limits, Refusal

R = TypeVar("R", bound="Request")

MAX_SEED = 2**32 - 1
MAX_RECIPE = 200
"""Characters of a penalty or a sampler."""


def field(description: str, default: Any = dataclasses.MISSING, **schema: Any) -> Any:
  """A field with what JSON Schema says of it, such as `minimum`."""
  return dataclasses.field(
    default=default, metadata={"description": description, **schema}
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
  """What the bodies of all requests have."""

  model: str = field("name of the run; the first that can do this, if empty", "")


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
  )
  penalty: str = field("length penalty, such as GNMT(0.6)", "GNMT(0.6)")
  extra: int = field(
    "outputs have up to this many tokens more than their text", 50, minimum=0
  )
  min_length: int = field("shortest output in tokens", 0, minimum=0)
  max_length: int | None = field(
    "longest output in tokens, whatever the text", None, minimum=1
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
    "outputs a text, no two nearly the same; samples, with `sample`", 1, minimum=1
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
  samples: int = field("continuations of each prompt", 1, minimum=1)
  max_length: int = field("the most new tokens", 64, minimum=1)
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


def read_object(body: bytes) -> dict[str, Any]:
  """The JSON object of a body.

  Raises:
    Refusal: it is none (400).
  """
  try:
    tree = configs.parse_json(body)
  except ValueError as error:
    raise Refusal(400, f"body: not JSON ({error})") from None
  if not isinstance(tree, dict):
    raise Refusal(400, f"body: expected a JSON object, got {type_name(tree)}")
  return tree


def read(cls: type[R], tree: dict[str, Any]) -> R:
  """The request that a JSON object writes.

  Raises:
    Refusal: it is broken (400).
  """
  fields = {each.name: each for each in dataclasses.fields(cls)}
  types, values = configs.annotations(cls), {}
  for name, value in tree.items():
    if name not in fields:
      message = no_such_field(abbreviate(name), name, cls)
      raise Refusal(400, message.replace(f"fields of {cls.__name__}", "there are"))
    values[name] = _value(name, value, types[name], fields[name].metadata)
  missing = [
    name
    for name, each in fields.items()
    if each.default is dataclasses.MISSING and name not in values
  ]
  if missing:
    raise Refusal(400, f"body: {', '.join(missing)} is missing")
  return cls(**values)


def _value(name: str, value: Any, annotation: Any, schema: Any) -> Any:
  """A field's value as its type, within its bounds."""
  if isinstance(value, list):
    value = tuple(value)
  try:
    value = coerce(value, annotation)
  except Mismatch:
    expected = " or ".join(map(json_type, alternatives(annotation)))
    raise Refusal(400, f"{name}: expected {expected}, got {type_name(value)}") from None
  texts = value if isinstance(value, tuple) else (value,)
  for text in texts:
    if isinstance(text, str) and any("\ud800" <= c <= "\udfff" for c in text):
      raise Refusal(400, f"{name}: not valid Unicode (half of a surrogate pair)")
  if isinstance(value, int) and not isinstance(value, bool):
    low, high = schema.get("minimum", value), schema.get("maximum", 2**31 - 1)
    if not low <= value <= high:
      got = value if abs(value) < 10**18 else "a larger one"
      raise Refusal(400, f"{name}: expected {low} to {high}, got {got}")
  return value


def json_type(annotation: Any) -> str:
  """A type in the words of JSON."""
  names = {str: "a string", int: "an integer", bool: "true or false", float: "a number"}
  names[type(None)] = "null"
  return names.get(annotation, "a list of strings")


def type_name(value: Any) -> str:
  """What kind of JSON value it is."""
  kinds = {str: "a string", int: "an integer", float: "a number", bool: "true or false"}
  kinds |= {type(None): "null", dict: "an object", list: "a list", tuple: "a list"}
  return kinds[type(value)]
