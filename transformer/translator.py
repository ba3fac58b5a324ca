"""A run as something that translates, for programs."""

from collections.abc import Callable, Sequence
from pathlib import Path

from transformer.run import Run
from transformer.tasks.search import Search, Searcher


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
  ) -> "Translator":
    """Opens a run.

    Args:
      path: its directory.
      search: beam, length penalty and longest output.
      step: the checkpoint; the newest if None.
      tokens: source tokens times beam in one batch; changes speed alone.

    Raises:
      FileNotFoundError: it is not a run, or has no such checkpoint.
      ValueError: it is damaged.
    """
    run = Run.open(path)
    return cls(run, Searcher(run.module(), run.params(step), search, tokens))

  def translate(
    self, texts: Sequence[str], progress: Callable[[int], object] | None = None
  ) -> list[str]:
    """The translation of every text, in order; an empty text gives an empty text.

    What a text becomes does not depend on the others. `progress`, if given, is called
    with 1 for every text finished.
    """
    return self.searcher.texts(texts, self.run.tokenizer, progress)
