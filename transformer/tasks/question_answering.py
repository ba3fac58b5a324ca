"""Questions about stories, answered by one word."""

import dataclasses
import functools
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from transformer.batch import Questions
from transformer.data.batching import Shape
from transformer.data.sources.base import Source
from transformer.data.sources.stories import Story, StorySource
from transformer.data.tokenizer import TokenizerRecipe
from transformer.data.vocabulary import WordVocabulary
from transformer.tasks.classification import ExampleClassification, check_rows


@dataclasses.dataclass(frozen=True)
class QuestionAnswering(ExampleClassification):
  """The answer to a question, one of the words of the training stories, in lower case.

  Attributes:
    sentences: the most of a story that are read, the last ones (Sukhbaatar et al. 2015,
      §4.2: 50).
    words: the most in a sentence or question.
  """

  sentences: int = 50
  words: int = 12

  def __post_init__(self):
    for name in ("sentences", "words"):
      if getattr(self, name) < 1:
        raise ValueError(f"task.{name}: expected 1 or more, got {getattr(self, name)}")

  def make_vocabulary(self, data: Source, recipe: TokenizerRecipe) -> bytes:
    found = set()
    for story in stories_of(data).open("train"):
      for text in (*story.sentences, story.question, story.answer):
        found.update(split_words(text))
    return WordVocabulary.write(sorted(found))

  def vocabulary_size(self, data: Source, recipe: TokenizerRecipe) -> int:
    return WordVocabulary(self.make_vocabulary(data, recipe)).size

  def example(self, shape: Shape) -> Questions:
    check_rows(shape)
    no_stories = EncodedStories(
      (), WordVocabulary(WordVocabulary.write(())), self.sentences, self.words
    )
    return no_stories.batch(np.full(shape.rows, -1))

  def examples(
    self, data: Source, split: str, vocabulary: Any, seed: int = 0
  ) -> "EncodedStories":
    return EncodedStories(
      stories_of(data).open(split), vocabulary, self.sentences, self.words
    )

  def read(self, inputs: Sequence[str], vocabulary: Any) -> "EncodedStories":
    """Each input is a text: sentences, the last of them the question."""
    stories = [read_story(text) for text in inputs]
    return EncodedStories(stories, vocabulary, self.sentences, self.words)


@dataclasses.dataclass(frozen=True)
class EncodedStories:
  """Stories as ids of words, with random access to whole batches."""

  stories: Sequence[Story]
  vocabulary: WordVocabulary
  sentences: int
  words: int

  def __len__(self) -> int:
    return len(self.stories)

  @functools.cached_property
  def label_n(self) -> np.ndarray:
    """The id of each answer, int32."""
    return np.fromiter(map(self.label, self.stories), np.int32, len(self.stories))

  def label(self, story: Story) -> int:
    """The id of a story's answer; 0 where it has none, as a user's."""
    return self.ids(story.answer)[0] if story.answer else 0

  def name(self, i: int) -> str:
    """The story, for a reader."""
    story = self.stories[i]
    return " ".join((*story.sentences, story.question))

  def batch(self, member_b: np.ndarray, step: int | None = None) -> Questions:
    """The stories of these numbers, -1 for none."""
    rows = len(member_b)
    id_bst = np.full((rows, self.sentences, self.words), -1, np.int32)
    age_bs = np.zeros((rows, self.sentences), np.int32)
    question_bt = np.full((rows, self.words), -1, np.int32)
    label_b, real_b = (np.zeros(rows, np.int32) for _ in range(2))
    for row in np.flatnonzero(member_b >= 0):
      member = int(member_b[row])
      story = self.stories[member]
      last = story.sentences[-self.sentences :]
      for s, text in enumerate(last):
        ids = self.ids(text)
        id_bst[row, s, : len(ids)] = ids
        age_bs[row, s] = len(last) - 1 - s
      ids = self.ids(story.question)
      question_bt[row, : len(ids)] = ids
      label_b[row], real_b[row] = self.label(story), 1
    return Questions(id_bst, age_bs, question_bt, label_b, real_b)

  def ids(self, text: str) -> list[int]:
    """The ids of a text's words.

    Raises:
      ValueError: there are too many, or one is not in the vocabulary.
    """
    words = split_words(text)
    if len(words) > self.words:
      raise ValueError(
        f"{text!r}: expected at most {self.words} words (task.words), got "
        f"{len(words)}; write shorter sentences"
      )
    found = [self.vocabulary.id(word) for word in words]
    if None in found:
      raise ValueError(
        f"{text!r}: {words[found.index(None)]!r} is in none of the training stories"
      )
    return [id for id in found if id is not None]


def split_words(text: str) -> list[str]:
  """The words of a text, in lower case, without punctuation."""
  return re.findall(r"\w+(?:['’-]\w+)*", text.lower())


def read_story(text: str) -> Story:
  """A story as a user writes it, its last sentence the question.

  Raises:
    ValueError: it has no question.
  """
  parts = [part for part in re.split(r"(?<=[.!?])\s+", text.strip()) if part]
  if len(parts) < 2 or not parts[-1].endswith("?"):
    raise ValueError(
      f"{text!r}: a story is sentences, each ended by a full stop, and then a "
      "question, ended by a question mark"
    )
  return Story(tuple(parts[:-1]), parts[-1], "")


def stories_of(data: Source) -> StorySource:
  """`data`, if it is of stories.

  Raises:
    ValueError: it is not.
  """
  if not isinstance(data, StorySource):
    raise ValueError(
      f"--config.data: expected stories with questions, got {type(data).__name__}; "
      "take Stories()"
    )
  return data
