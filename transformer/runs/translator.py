"""A run as something that translates, for programs."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from transformer.decoding.rerank import distinct, mbr
from transformer.runs.run import Run
from transformer.inference.score import forced
from transformer.inference.search import Search, Searcher
from transformer.inference.stream import stream
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
  """Parameters, tokenizer and a way to search, opened once and used often."""

  def __init__(self, run: Run, searcher: Searcher):
    self.run, self.searcher = run, searcher

  @classmethod
  def open(
    cls,
    path: Path | str,
    search: Search = Search(),
    step: int | None = None,
    tokens: int = 4096,
    int8: bool = False,
  ) -> "Translator":
    """Opens a run.

    Args:
      path: its directory.
      search: beam, length penalty, limits, or how to draw; see `Search`.
      step: the checkpoint; the newest if None.
      tokens: source tokens times outputs in one batch; changes speed alone.
      int8: keeps the matrices in 8 bits; faster, and not quite the same model.

    Raises:
      FileNotFoundError: it is not a run, or has no such checkpoint.
      ValueError: it is damaged, or its task is no translation.
    """
    run = Run.open(path)
    task = run.config.task
    if not isinstance(task, Translation):
      raise ValueError(
        f"{run.path}: its task is {type(task).__name__}, and no translation; use: "
        f"transformer {task.verb} {run.path}"
      )
    return cls(run, Searcher(run.module(), run.params(step, int8), search, tokens))

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

    The arguments are those of `hypotheses`, of which this is the first; with `by_mbr`
    the one of them that is most like the others (`decoding.choose.mbr`).
    """
    return [
      found[mbr([each.text for each in found]) if by_mbr else 0].text if found else ""
      for found in self.hypotheses(texts, progress, prefixes=prefixes, seed=seed)
    ]

  def hypotheses(
    self,
    texts: Sequence[str],
    progress: Callable[[int], object] | None = None,
    *,
    prefixes: Sequence[str] | None = None,
    seed: int = 0,
  ) -> list[list[Hypothesis]]:
    """What the search finds for every text, in order; nothing for an empty text.

    A beam gives up to `search.n_best` outputs, best first, no two of which differ in
    case, spaces and punctuation alone; there may be fewer. Drawn outputs are all
    given, as drawn.

    What is found for a text, and drawn, does not depend on the others.

    Args:
      texts: what to translate.
      progress: if given, called with 1 for every text finished.
      prefixes: the forced beginning of each text's translation.
      seed: of what is drawn.
    """
    tokenizer, search = self.run.tokenizer, self.searcher.search
    beginnings = None
    if prefixes is not None:
      if len(prefixes) != len(texts):
        raise ValueError(f"{len(prefixes)} prefixes for {len(texts)} texts")
      beginnings = [ids[:-1] for ids in tokenizer.encode(list(prefixes))]
    sources = tokenizer.encode(list(texts))
    results: list[list[Hypothesis]] = [[] for _ in texts]
    for i, output in self.searcher.found(sources, beginnings, seed):
      found = [
        self._hypothesis(
          output.token_bwt[w, :n], output.token_logprob_bwt[w, :n], output.score_bw[w]
        )
        for w, n in enumerate(output.length_bw) if n
      ]  # fmt: skip
      if not search.draws:
        found = [found[w] for w in distinct([f.text for f in found], search.n_best)]
      results[i] = found
      if progress is not None:
        progress(1)
    return results

  def stream(self, text: str, prefix: str = "", seed: int = 0) -> Iterator[str]:
    """The translation of one text piece by piece, each as soon as it is known;
    together they are what `translate` gives. For a search with a beam of 1."""
    tokenizer = self.run.tokenizer
    (source,), (beginning,) = tokenizer.encode([text]), tokenizer.encode([prefix])
    ids: list[int] = []
    shown = ""
    for token in stream(self.searcher, source, beginning[:-1], seed):
      ids.append(token)
      (now,) = tokenizer.decode([ids])
      # A character spelt in bytes is unknown until its last one.
      if now.startswith(shown) and not now.endswith("\ufffd"):
        yield now[len(shown) :]
        shown = now
    (now,) = tokenizer.decode([ids])
    yield now[len(shown) :]

  def score(
    self,
    texts: Sequence[str],
    translations: Sequence[str],
    progress: Callable[[int], object] | None = None,
  ) -> list[Hypothesis]:
    """How probable given translations are under the model, one for every text.

    Raises:
      ValueError: there are not as many translations as texts.
    """
    if len(texts) != len(translations):
      raise ValueError(f"{len(translations)} translations for {len(texts)} texts")
    tokenizer = self.run.tokenizer
    sources = tokenizer.encode(list(texts))
    targets = tokenizer.encode(list(translations))
    results: dict[int, Hypothesis] = {}
    for i, token_logprob_t, score in forced(self.searcher, sources, targets):
      found = self._hypothesis(targets[i], token_logprob_t, score)
      results[i] = found._replace(text=translations[i])
      if progress is not None:
        progress(1)
    return [results[i] for i in range(len(texts))]

  def _hypothesis(self, token_t, token_logprob_t, score) -> Hypothesis:
    tokenizer = self.run.tokenizer
    return Hypothesis(
      tokenizer.decode([token_t])[0],
      float(score),
      float(np.sum(token_logprob_t)),
      tuple(tokenizer.pieces(token_t)),
      tuple(float(gain) for gain in token_logprob_t),
    )
