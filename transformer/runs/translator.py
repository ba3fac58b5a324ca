"""A run that translates, for programs."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from transformer.decoding.rerank import distinct, mbr
from transformer.inference.devices import Devices
from transformer.inference.score import score_targets
from transformer.inference.search import Search, Searcher
from transformer.inference.stream import stream
from transformer.runs.lengths import LengthWarning
from transformer.runs.opening import open_run
from transformer.runs.run import Run
from transformer.tasks.translation import Translation


class Hypothesis(NamedTuple):
  """One output.

  Attributes:
    text: the output, detokenised.
    score: `logprob` under the search's length penalty; what outputs are ranked by.
    logprob: the sum of `token_logprobs`, in nats.
    tokens: its pieces, the end symbol last.
    token_logprobs: the model's log-probability of each of them.
  """

  text: str
  score: float
  logprob: float
  tokens: tuple[str, ...]
  token_logprobs: tuple[float, ...]


class Translator:
  """The model, parameters and tokenizer of a run, and a search.

  Attributes:
    step: the checkpoint that the parameters are of; None where that was not said.
  """

  def __init__(self, run: Run, searcher: Searcher, step: int | None = None):
    """Wraps an opened run; see `open`."""
    self.run, self.searcher, self.step = run, searcher, step
    self._length_warning = LengthWarning(run.config)

  @classmethod
  def open(
    cls,
    path: Path | str,
    search: Search | None = None,
    step: int | None = None,
    tokens: int = 4096,
    int8: bool = False,
    devices: Devices | None = None,
    source_language: str | None = None,
    target_language: str | None = None,
  ) -> "Translator":
    """Opens a run.

    Args:
      path: its directory.
      search: beam, length penalty, limits, or sampling; see `Search`. If None, the
        `decoding` of the run's task.
      step: the checkpoint; the newest that is not damaged if None.
      tokens: source tokens times outputs in one batch of a device; changes speed
        alone.
      int8: quantises the matrices to 8 bits; faster, and slightly less accurate.
      devices: share the texts; all of this process if None.
      source_language, target_language: of a model of several languages; if None, those
        of the run.

    Raises:
      FileNotFoundError: it is not a run, or has no such checkpoint.
      ValueError: it is damaged, its task is not translation, or it has no such
        language.
    """
    run, task = open_run(path, Translation)
    run = run.with_languages(source_language, target_language)
    search = dataclasses.replace(search or task.decoding, prefix=run.tokenizer.prefix)
    devices = devices or Devices.local()
    params, step = run.checkpoint(step, int8, devices)
    return cls(run, Searcher(run.module(), params, search, tokens, devices), step)

  def with_search(self, search: Search) -> "Translator":
    """The same run, with its parameters in memory once, and another search."""
    return type(self)(self.run, self.searcher.with_search(search), self.step)

  def with_languages(self, source: str | None, target: str | None) -> "Translator":
    """The same run with another source or target language; None leaves one as it is.

    Raises:
      ValueError: it has no such language, or none to choose from, or has several and
        no target language is known.
    """
    run = self.run.with_languages(source, target)
    search = dataclasses.replace(self.searcher.search, prefix=run.tokenizer.prefix)
    return type(self)(run, self.searcher.with_search(search), self.step)

  def translate(
    self,
    texts: Sequence[str],
    progress: Callable[[int], object] | None = None,
    *,
    prefixes: Sequence[str] | None = None,
    seed: int = 0,
    by_mbr: bool = False,
  ) -> list[str]:
    """The translation of every text, in order; an empty text gives an empty text.

    The arguments are those of `hypotheses`, of which this is the first, or with
    `by_mbr` the one of minimum Bayes risk (`decoding.rerank.mbr`).
    """
    return [
      ranked[mbr([each.text for each in ranked]) if by_mbr else 0].text
      if ranked
      else ""
      for ranked in self.hypotheses(texts, progress, prefixes=prefixes, seed=seed)
    ]

  def hypotheses(
    self,
    texts: Sequence[str],
    progress: Callable[[int], object] | None = None,
    *,
    prefixes: Sequence[str] | None = None,
    seed: int = 0,
  ) -> list[list[Hypothesis]]:
    """The outputs of every text, in order; none for an empty text.

    A beam has up to `search.n_best` outputs, best first, no two of which differ in
    case, spaces and punctuation alone; there may be fewer. Samples are all returned.

    The outputs of a text do not depend on the other texts (batch invariance).

    Args:
      texts: what to translate.
      progress: if not None, called with 1 for every text finished.
      prefixes: the first words of each text's translation.
      seed: of sampling.
    """
    tokenizer, search = self.run.tokenizer, self.searcher.search
    prefix_ids = None
    if prefixes is not None:
      if len(prefixes) != len(texts):
        raise ValueError(f"prefixes: expected {len(texts)}, got {len(prefixes)}")
      prefix_ids = [self._prefix(prefix) for prefix in prefixes]
    sources = tokenizer.encode_sources(texts)
    self._length_warning.check(sources)
    results: list[list[Hypothesis]] = [[] for _ in texts]
    for i, output in self.searcher.search_all(sources, prefix_ids, seed):
      hypotheses = [
        self._hypothesis(
          output.token_bwt[w, :n], output.token_logprob_bwt[w, :n], output.score_bw[w]
        )
        for w, n in enumerate(output.length_bw) if n
      ]  # fmt: skip
      if not search.draws:
        kept = distinct([each.text for each in hypotheses], search.n_best)
        hypotheses = [hypotheses[w] for w in kept]
      results[i] = hypotheses
      if progress is not None:
        progress(1)
    return results

  def stream(self, text: str, prefix: str = "", seed: int = 0) -> Iterator[str]:
    """The translation of one text part by part as it is decoded; joined, the parts are
    that of `translate`. For a search with a beam of 1."""
    tokenizer = self.run.tokenizer
    (source,) = tokenizer.encode_sources([text])
    self._length_warning.check([source])
    ids: list[int] = []
    shown = ""
    for token in stream(self.searcher, source, self._prefix(prefix), seed):
      ids.append(token)
      (decoded,) = tokenizer.decode([ids])
      # A character in bytes cannot be decoded before its last byte.
      if decoded.startswith(shown) and not decoded.endswith("\ufffd"):
        yield decoded[len(shown) :]
        shown = decoded
    (decoded,) = tokenizer.decode([ids])
    yield decoded[len(shown) :]

  def score(
    self,
    texts: Sequence[str],
    translations: Sequence[str],
    progress: Callable[[int], object] | None = None,
  ) -> list[Hypothesis]:
    """The model's scores of given translations, one for every text.

    Raises:
      ValueError: there are not as many translations as texts.
    """
    if len(texts) != len(translations):
      raise ValueError(f"translations: expected {len(texts)}, got {len(translations)}")
    tokenizer = self.run.tokenizer
    sources = tokenizer.encode_sources(texts)
    targets = tokenizer.encode(translations)
    self._length_warning.check(sources + targets)
    results: dict[int, Hypothesis] = {}
    for i, token_logprob_t, score in score_targets(self.searcher, sources, targets):
      hypothesis = self._hypothesis(targets[i], token_logprob_t, score)
      results[i] = hypothesis._replace(text=translations[i])
      if progress is not None:
        progress(1)
    return [results[i] for i in range(len(texts))]

  def _prefix(self, text: str) -> np.ndarray:
    """The ids of the beginning of an output, after those that all have."""
    (ids,) = self.run.tokenizer.encode([text])
    return ids[len(self.searcher.search.prefix) : -1]

  def _hypothesis(self, token_t, token_logprob_t, score) -> Hypothesis:
    tokenizer = self.run.tokenizer
    return Hypothesis(
      tokenizer.decode([token_t])[0],
      float(score),
      float(np.sum(token_logprob_t)),
      tuple(tokenizer.pieces(token_t)),
      tuple(float(logprob) for logprob in token_logprob_t),
    )
