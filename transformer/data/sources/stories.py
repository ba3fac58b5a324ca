"""Stories of who goes where with what, and a question: made here, no download."""

import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from transformer.config import Natural
from transformer.data.sources.base import Source, check_split, split_of

PEOPLE = ("Anna", "Ben", "Clara", "David", "Emma", "Felix")
PLACES = ("garden", "kitchen", "library", "office", "station", "workshop")
THINGS = ("ball", "book", "key", "lamp")
MOVES = ("goes to", "walks to", "moves to")
TAKES = ("takes", "picks up")


class Story(NamedTuple):
  """Sentences in the order of events, a question about the end, and one word."""

  sentences: tuple[str, ...]
  question: str
  answer: str


class StorySource(Source):
  """A recipe for stories with questions."""

  def open(self, split: str) -> Sequence[Story]:
    """The stories of a split; errors as in `Source.open`."""
    raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Stories(StorySource):
  """People who go about and, where `facts` is 2, take things along and put them down;
  after the first two tasks of Weston et al. 2015, in words of our own.

  With one supporting fact the question is where a person is, and the last sentence in
  which this person goes somewhere answers it. With two it is where a thing is: who took
  it last, and where they, or the thing if it was left, came to be. Example `i` is made
  when it is asked for, from (seed, split, i) alone. All stories are divided by a hash
  of their text, so none of one split is in another.

  Attributes:
    facts: sentences that an answer needs, 1 or 2.
    sentences: of a story.
    examples: how many training stories there are.
    held_out: how many each of val and test has.
    seed: chooses the examples, not the division.
  """

  facts: int = 1
  sentences: int = 8
  examples: Natural = 10_000
  held_out: Natural = 1_000
  seed: Natural = 0

  def __post_init__(self):
    if self.facts not in (1, 2):
      raise ValueError(f"Stories.facts: expected 1 or 2, got {self.facts}")
    if self.sentences < 2 * self.facts:
      raise ValueError(
        f"Stories.sentences: expected {2 * self.facts} or more for {self.facts} facts, "
        f"got {self.sentences}"
      )

  def open(self, split: str) -> Sequence[Story]:
    check_split(split)
    return _stories(self, split)

  def fingerprint(self, split: str) -> str:
    text = f"{self} {split} {PEOPLE} {PLACES} {THINGS} {MOVES} {TAKES} 1"
    return hashlib.sha256(text.encode()).hexdigest()


def story_text(story: Story) -> str:
  """A story with its question, by which it belongs to a split."""
  return " ".join((*story.sentences, story.question))


@functools.lru_cache(maxsize=8)
def _stories(recipe: Stories, split: str) -> "_Stories":
  size = recipe.examples if split == "train" else recipe.held_out
  return _Stories(recipe, split, size)


class _Stories(Sequence[Story]):
  def __init__(self, recipe: Stories, split: str, size: int):
    self._recipe, self._split, self._size = recipe, split, size
    self._made = functools.cache(self._make)

  def __len__(self) -> int:
    return self._size

  def __getitem__(self, i):
    if isinstance(i, slice):
      return [self[j] for j in range(*i.indices(len(self)))]
    if not 0 <= i < self._size:
      raise IndexError(i)
    return self._made(int(i))

  def _make(self, i: int) -> Story:
    name = ("train", "val", "test").index(self._split)
    rng = np.random.default_rng([self._recipe.seed, name, i])
    while True:
      story = make_story(rng, self._recipe.facts, self._recipe.sentences)
      if story is not None and split_of(story_text(story)) == self._split:
        return story


def make_story(rng, facts: int, size: int) -> Story | None:
  """A story of `size` sentences; None if no question can be asked about it."""

  def choose(words):
    return words[rng.integers(len(words))]

  place: dict[str, str] = {}  # of people
  holder: dict[str, str] = {}  # of things that are carried
  left: dict[str, str] = {}  # the place of things that were put down
  sentences: list[str] = []
  while len(sentences) < size:
    person = choose(PEOPLE)
    carried = [thing for thing, who in holder.items() if who == person]
    free = [thing for thing in THINGS if thing not in holder]
    # A thing that was put down can be taken only where it lies.
    free = [t for t in free if left.get(t, place.get(person)) == place.get(person)]
    event = rng.random() if facts == 2 and person in place else 1.0
    if event < 0.3 and free:
      thing = choose(free)
      holder[thing] = person
      left.pop(thing, None)
      sentences.append(f"{person} {choose(TAKES)} the {thing}.")
    elif event < 0.45 and carried:
      thing = choose(carried)
      del holder[thing]
      left[thing] = place[person]
      sentences.append(f"{person} puts down the {thing}.")
    else:
      target = choose([p for p in PLACES if p != place.get(person)])
      place[person] = target
      sentences.append(f"{person} {choose(MOVES)} the {target}.")
  if facts == 1:
    subject = choose(sorted(place))
    return Story(tuple(sentences), f"Where is {subject}?", place[subject])
  where = left | {thing: place[who] for thing, who in holder.items()}
  if not where:
    return None
  subject = choose(sorted(where))
  return Story(tuple(sentences), f"Where is the {subject}?", where[subject])
