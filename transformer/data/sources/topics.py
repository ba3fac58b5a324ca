"""The help topics of the Python that runs: embedded text that needs no download."""

import dataclasses
import hashlib
from collections.abc import Sequence

from transformer.data.sources.base import TextSource, check_split, split_of


@dataclasses.dataclass(frozen=True)
class Topics(TextSource):
  """The texts behind Python's `help("…")`, chapters of its language reference: about
  half a million characters, another version of Python has slightly others.

  A topic belongs to a split by a hash of its name, so that none is in two; a fifth is
  held out. The same text under two names is one text.
  """

  def open(self, split: str) -> Sequence[str]:
    check_split(split)
    from pydoc_data.topics import topics

    first: dict[str, str] = {}
    for name in sorted(topics):
      first.setdefault(topics[name], name)
    return [text for text, name in first.items() if split_of(name) == split]

  def fingerprint(self, split: str) -> str:
    return hashlib.sha256("\0".join(self.open(split)).encode()).hexdigest()
