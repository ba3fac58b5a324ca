"""Held-out scores of a run, on a part of a split where the task allows it."""

import dataclasses
import functools
from typing import Any

import numpy as np

from transformer.inference.score import score_targets
from transformer.inference.search import Searcher
from transformer.inspection.inputs import Opened
from transformer.tasks.base import EvaluationInputs, Task
from transformer.tasks.text_scores import text_scores
from transformer.tasks.translation import Translation

Scores = dict[str, float]


class Scorer:
  """Scores a run's model with any parameters on its held-out data: what the task's own
  evaluation computes.

  `limit` bounds the examples; None for all.

  Raises:
    FileNotFoundError: the data is not where the run's config says.
    ValueError: there is no such split.
  """

  def __init__(self, opened: Opened, split: str, limit: int | None = None):
    self.opened, self.split, self.limit = opened, split, limit
    self.data = opened.run.config.data
    try:
      self.data.open(split)  # what is wrong with it is an error before any work
    except FileNotFoundError as error:
      raise FileNotFoundError(
        f"{error}; the data of {opened.run.path} is where it was trained, relative to "
        "the directory of that command: put it back there, or call heads from there"
      ) from None

  def __call__(self, params) -> Scores:
    """The scores by name.

    Raises:
      ValueError: there is a limit, and the task evaluates whole splits alone.
    """
    return scores(self.opened.run.config.task, self, params)

  @functools.cached_property
  def module(self):
    """The model, the same object each time, for which programs are compiled once."""
    return self.opened.run.module()

  def pairs(self) -> list[tuple[str, str]]:
    """Sources and references of a task of translation."""
    pairs = self.data.open(self.split)
    count = min(len(pairs), self.limit or len(pairs))
    return [(pairs[i].source, pairs[i].target) for i in range(count)]


@functools.singledispatch
def scores(task: Task, scorer: Scorer, params) -> Scores:
  """The scores of a task, of which there is an implementation for each that takes a
  limit."""
  run = scorer.opened.run
  if scorer.limit is not None:
    raise ValueError(
      f"--limit: the task of {run.path} is {type(task).__name__}, which evaluates "
      "whole splits; leave --limit out"
    )
  found, _ = task.evaluate(
    EvaluationInputs(
      scorer.module, params, run.config.data, run.vocabulary, scorer.split, run.cache,
      progress=False,
    )
  )  # fmt: skip
  return numbers(found)


@scores.register
def _(task: Translation, scorer: Scorer, params) -> Scores:
  tokenizer = scorer.opened.run.tokenizer
  search = dataclasses.replace(task.search, prefix=tokenizer.prefix)
  searcher = Searcher(scorer.module, params, search)
  sources, references = (list(side) for side in zip(*scorer.pairs(), strict=True))
  targets = tokenizer.encode(references)
  total = count = 0.0
  for _, logprob_t, _ in score_targets(
    searcher, tokenizer.encode_sources(sources), targets
  ):
    total, count = total - float(np.sum(logprob_t)), count + len(logprob_t)
  outputs = searcher.texts(sources, tokenizer)
  return {
    "loss": total / count,
    **numbers(text_scores(outputs, references, task.tokenize)),
  }


def numbers(found: dict[str, Any]) -> Scores:
  """The scores that are numbers."""
  return {name: float(x) for name, x in found.items() if isinstance(x, (int, float))}
