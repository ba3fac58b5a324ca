"""Python's standard library: long texts that need no download."""

import dataclasses
import hashlib
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from transformer.data.sources.base import TextSource, check_split, split_of


@dataclasses.dataclass(frozen=True)
class StandardLibrary(TextSource):
  """The modules of the Python that runs, source files without packages: nearly five
  million characters, in texts of thousands of tokens whose names recur. Another version
  of Python has others.

  A module belongs to a split by a hash of its name; a fifth is held out.

  Attributes:
    held_out_characters: of a module of val or test; the rest of it is not read.
  """

  held_out_characters: int = 10_000

  def __post_init__(self):
    if self.held_out_characters < 1:
      raise ValueError(
        "StandardLibrary.held_out_characters: expected 1 or more, got "
        f"{self.held_out_characters}"
      )

  def open(self, split: str) -> Sequence[str]:
    check_split(split)
    folder = Path(sysconfig.get_path("stdlib"))
    modules = sorted(folder.glob("*.py"))
    if not modules:
      raise ValueError(
        f"StandardLibrary: {folder}: this Python comes without its source files; use "
        "another, or PlainText"
      )
    most = None if split == "train" else self.held_out_characters
    return [
      path.read_text(encoding="utf-8")[:most]
      for path in modules
      if split_of(path.stem) == split
    ]

  def fingerprint(self, split: str) -> str:
    return hashlib.sha256("\0".join(self.open(split)).encode()).hexdigest()
