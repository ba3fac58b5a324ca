"""What the model of a run reads of a text or an image, by the task of the run."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from transformer.batch import BOS, Labelled, Pairs, Sentences, TextWithContext
from transformer.data.tokenizer import Tokenizer
from transformer.inference.batches import TEXT_LENGTHS, pad_tokens
from transformer.inference.embed import TextEmbedder
from transformer.inference.fill import MASK_TEXT, MaskPredictor, encode_masked
from transformer.inference.search import SOURCE_LENGTHS, Search, Searcher
from transformer.runs.classifier import Classifier
from transformer.runs.run import Run
from transformer.runs.translator import Translator
from transformer.tasks.base import Task
from transformer.tasks.classification import Classification, Unreadable
from transformer.tasks.image_classification import ImageClassification
from transformer.tasks.language_modelling import LanguageModelling
from transformer.tasks.masked_language_modelling import MaskedLanguageModelling
from transformer.tasks.question_answering import QuestionAnswering, read_story
from transformer.tasks.segment_language_modelling import SegmentLanguageModelling
from transformer.tasks.sentence_embedding import SentenceEmbedding
from transformer.tasks.text_classification import TextClassification
from transformer.tasks.translation import Translation

MAX_TOKENS = 256
"""The longest text that is shown; a page grows with its square."""


class UnsuitableText(ValueError):
  """A text that has nothing to show, or too much."""


class Opened:
  """A run with what is needed to use its model."""

  def __init__(
    self,
    run: Run,
    params: Any = None,
    search: Search = Search(),
    searcher: Searcher | None = None,
  ):
    """A run with the parameters of one of its checkpoints.

    Args:
      run: the run.
      params: stacked, as in the checkpoint; taken from `searcher` if None.
      search: finds the translation of a text.
      searcher: has the parameters and the search; made from them if None.
    """
    self.run, self._params, self._searcher = run, params, searcher
    self.search = search if searcher is None else searcher.search

  @classmethod
  def of(cls, opened: "Run | Translator | Classifier | Opened") -> "Opened":
    """What is open already, or a run with its newest checkpoint."""
    if isinstance(opened, Translator):
      return cls(opened.run, searcher=opened.searcher)
    if isinstance(opened, Classifier):
      return cls(opened.run, opened.params)
    if isinstance(opened, Opened):
      return opened
    return cls.with_search(opened, opened.params(), Search())

  @classmethod
  def with_search(cls, run: Run, params: Any, search: Search) -> "Opened":
    """A run whose translations are searched for; each begins as its tokenizer says."""
    if isinstance(run.config.task, Translation):
      search = dataclasses.replace(search, prefix=run.tokenizer.prefix)
    return cls(run, params, search)

  @functools.cached_property
  def params(self) -> Any:
    """The parameters, stacked."""
    if self._params is not None or self._searcher is None:
      return self._params
    # A copy, which lives as long as this object.
    return self._searcher.module.restack(self._searcher.params)

  @functools.cached_property
  def searcher(self) -> Searcher:
    """The model with its parameters and search."""
    return self._searcher or Searcher(self.run.module(), self.params, self.search)


class ModelInputs(NamedTuple):
  """One example as a model reads it.

  Attributes:
    batch: the example in a batch of one row.
    source, target: the tokens that are attended to and those that attend, where a model
      has both; else the same tokens twice.
    target_read: the tokens that the decoder reads while it writes `target`.
    output: what the model makes of the input, for a reader.
    image_yxc: the image as the model reads it, uint8.
  """

  batch: Any
  source: tuple[str, ...]
  target: tuple[str, ...]
  target_read: tuple[str, ...] = ()
  output: str = ""
  image_yxc: np.ndarray | None = None


@functools.singledispatch
def read_input(
  task: Task, opened: Opened, text: str, reference: str | None
) -> ModelInputs:
  """The input of a run's model.

  Args:
    task: of the run; there is one implementation for each kind of task.
    opened: the run.
    text: a text, or the path of an image file.
    reference: a translation to show in place of the model's own.

  Raises:
    ValueError: the text is empty, too long, or of another kind.
    OSError: an image cannot be read.
  """
  raise ValueError(
    f"{opened.run.path}: inputs of the task {type(task).__name__} cannot be shown"
  )


@read_input.register
def _(task: Translation, opened, text, reference):
  tokenizer = opened.run.tokenizer
  (source,) = tokenizer.encode_sources([text])
  check_size(source, text)
  if reference is None:
    ((_, output),) = opened.searcher.search_all([source])
    target = output.token_bwt[0, : output.length_bw[0]]
  else:
    (target,) = tokenizer.encode([reference])
  check_longest(target, text if reference is None else reference)
  pair = [
    pad_tokens([ids], 1, SOURCE_LENGTHS.round_up(len(ids))) for ids in (source, target)
  ]
  read = [opened.run.config.model.start_id, *target[:-1]]
  return ModelInputs(
    Pairs(*pair),
    tuple(tokenizer.pieces(source)),
    tuple(tokenizer.pieces(target)),
    tuple(tokenizer.pieces(read)),
    tokenizer.decode([target])[0],
  )


@read_input.register
def _(task: MaskedLanguageModelling, opened, text, reference):
  refuse_reference(opened.run, reference)
  tokenizer, output = opened.run.tokenizer, ""
  ids = np.concatenate([[BOS], encode_masked(tokenizer, text)])
  check_size(ids, text)
  if MASK_TEXT in text:
    module = opened.run.module()
    predictor = MaskPredictor(module, opened.params, tokenizer, task.context)
    output = predictor.fill([text], 1)[0].text
  tokens, pieces = text_tokens(tokenizer, ids)
  return ModelInputs(tokens, pieces, pieces, output=output)


@read_input.register
def _(task: TextClassification, opened, text, reference):
  refuse_reference(opened.run, reference)
  tokenizer = opened.run.tokenizer
  ids = np.concatenate([[BOS], *tokenizer.encode([text])])[: task.context]
  check_size(ids, text)
  tokens, pieces = text_tokens(tokenizer, ids)
  batch = Labelled(tokens, np.full(tokens.id_bt.shape, -1, np.int32))
  return ModelInputs(batch, pieces, pieces, output=predicted(task, opened, text))


@read_input.register
def _(task: SentenceEmbedding, opened, text, reference):
  refuse_reference(opened.run, reference)
  tokenizer, module = opened.run.tokenizer, opened.run.module()
  # Cut as `transformer embed` cuts it.
  embedder = TextEmbedder(module, opened.params, tokenizer, context=task.context)
  (ids,) = embedder.encode([text])
  check_size(ids, text)
  tokens, pieces = text_tokens(tokenizer, ids)
  return ModelInputs(Sentences(tokens), pieces, pieces)


@read_input.register
def _(task: LanguageModelling, opened, text, reference):
  refuse_reference(opened.run, reference)
  tokenizer = opened.run.tokenizer
  (ids,) = tokenizer.encode([text])
  check_size(ids, text)
  # The model reads `BOS` and every token but the last, `EOS`.
  tokens, _ = text_tokens(tokenizer, ids)
  read = tuple(tokenizer.pieces([BOS, *ids[:-1]]))
  return ModelInputs(tokens, read, read)


@read_input.register
def _(task: SegmentLanguageModelling, opened, text, reference):
  refuse_reference(opened.run, reference)
  tokenizer = opened.run.tokenizer
  (ids,) = tokenizer.encode([text])
  check_size(ids, text)
  tokens, pieces = text_tokens(tokenizer, ids[:-1])
  nothing = pad_tokens([], 1, 0)
  return ModelInputs(TextWithContext(nothing, tokens), pieces, pieces)


@read_input.register
def _(task: ImageClassification, opened, text, reference):
  refuse_reference(opened.run, reference)
  batch = task.read([text], opened.run.vocabulary).batch(np.zeros(1, np.int64))
  _, rows, columns, _ = batch.image_byxc.shape
  patch = getattr(opened.run.config.model, "patch", rows)
  grid = [
    f"{y},{x}"
    for y in range(1, 1 + rows // patch)
    for x in range(1, 1 + columns // patch)
  ]
  tokens = ("[class]", *grid)
  return ModelInputs(
    batch, tokens, tokens,
    output=predicted(task, opened, text), image_yxc=batch.image_byxc[0],
  )  # fmt: skip


@read_input.register
def _(task: QuestionAnswering, opened, text, reference):
  refuse_reference(opened.run, reference)
  batch = task.read([text], opened.run.vocabulary).batch(np.zeros(1, np.int64))
  story = read_story(text)
  sentences = tuple(story.sentences[-task.sentences :])
  return ModelInputs(
    batch, sentences, (story.question,), output=predicted(task, opened, text)
  )


def predicted(task: Classification, opened: Opened, text: str) -> str:
  """The most probable class of an input, with its probability."""
  run = opened.run
  (answer,) = task.classify(run.module(), opened.params, run.vocabulary, [text])
  if isinstance(answer, Unreadable):
    raise UnsuitableText(answer.reason)
  return f"{answer.classes[0]} (probability {answer.probabilities[0]:.3f})"


def text_tokens(tokenizer: Tokenizer, ids: np.ndarray):
  """A batch of one text, padded to a declared length, and the pieces of its ids."""
  tokens = pad_tokens([ids], 1, TEXT_LENGTHS.round_up(len(ids)))
  return tokens, tuple(tokenizer.pieces(ids.tolist()))


def check_size(ids: Sequence[int] | np.ndarray, text: str) -> None:
  """Raises UnsuitableText if a text has nothing to show, or too much."""
  if len(ids) <= 1:
    raise UnsuitableText(f"{text!r}: the text is empty; give another one")
  check_longest(ids, text)


def check_longest(ids: Sequence[int] | np.ndarray, text: str) -> None:
  """Raises UnsuitableText if a text, or the output of one, has too much to show."""
  if len(ids) > MAX_TOKENS:
    raise UnsuitableText(
      f"{text[:40]!r}…: expected at most {MAX_TOKENS} tokens, got {len(ids):,}; "
      "shorten the text"
    )


def refuse_reference(run: Run, reference: str | None) -> None:
  """Raises ValueError if there is a reference and the task has no use for it."""
  if reference is not None:
    raise ValueError(
      f"--reference: the task of {run.path} is {type(run.config.task).__name__}, not "
      "Translation; leave --reference out"
    )
