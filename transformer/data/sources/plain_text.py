"""Text files, for models of one text."""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

from transformer.data.sources.base import TextSource, check_split
from transformer.data.sources.parallel_text import Lines, read_bytes
from transformer.data.text import is_blank


@dataclasses.dataclass(frozen=True)
class PlainText(TextSource):
  """Text files, UTF-8, gzipped or plain; each is one document.

  Without files of their own, val and test are the same held-out lines: the last
  twentieth of each training file, which training then does not see.

  Attributes:
    train, val, test: files of each split; test without files takes those of val.
    lines: every line is a document, and blank ones are none.
  """

  train: tuple[str, ...]
  val: tuple[str, ...] = ()
  test: tuple[str, ...] = ()
  lines: bool = False

  def open(self, split: str) -> Sequence[str]:
    check_split(split)
    own = {"train": self.train, "val": self.val, "test": self.test or self.val}[split]
    documents: list[str] = []
    for file in own or self.train:
      lines = Lines(read_bytes(Path(file)), file)
      cut = len(lines) if self.val else len(lines) - len(lines) // 20
      part = lines[:cut] if split == "train" else lines[0 if own else cut :]
      documents += part if self.lines else ["\n".join(part)]
    documents = [text for text in documents if not is_blank(text)]
    if not documents:
      raise ValueError(
        f"PlainText: {', '.join(own or self.train)}: no text for {split!r}; "
        + ("give other files" if own else "give files for val")
      )
    return documents

  def fingerprint(self, split: str) -> str:
    return hashlib.sha256("\0".join(self.open(split)).encode()).hexdigest()
