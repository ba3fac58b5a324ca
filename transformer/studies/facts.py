"""A study without training: facts that are computed, beside what a source says."""

import dataclasses
import math
import sys
from collections.abc import Callable
from pathlib import Path

from transformer.runs.metrics import write_whole
from transformer.runs.processes import Lock
from transformer.runs.run import foreign
from transformer.studies.page import markdown, page


@dataclasses.dataclass(frozen=True)
class Fact:
  """A number that a claim is about, and where it lies if the claim holds.

  Attributes:
    claim: in a sentence.
    source: who says so, or derives it.
    measure: computes the number.
    least, most: where it lies, both included.
    published: the source's own figure, as it is printed.
  """

  claim: str
  source: str
  measure: Callable[[], float]
  least: float = -math.inf
  most: float = math.inf
  published: str = ""

  def holds(self, value: float) -> bool:
    """Whether a measured number is as the claim says."""
    return self.least <= value <= self.most

  @property
  def expected(self) -> str:
    """Where the number lies, for the reader."""
    if self.least == self.most:
      return f"{self.least:g}"
    if self.least == -math.inf:
      return f"at most {self.most:g}"
    if self.most == math.inf:
      return f"at least {self.least:g}"
    return f"{self.least:g} to {self.most:g}"


@dataclasses.dataclass(frozen=True)
class Facts:
  """Facts under one title.

  Attributes:
    title: the question.
    facts: what is measured.
    draw: writes a figure into a file, if there is one.
    notes: sentences for the reader.
  """

  title: str
  facts: tuple[Fact, ...]
  draw: Callable[[Path], None] | None = None
  notes: tuple[str, ...] = ()

  def go(self, directory: Path) -> int:
    """Measures all and writes table.md, report.html and figure.png; the exit status: 1
    where one does not hold.

    Raises:
      ValueError: the directory is in use or something else.
    """
    path = Path(directory)
    if not (path / "table.md").is_file() and foreign(path):
      raise ValueError(
        f"{path}: no study and not empty; choose another --workdir or empty it"
      )
    with Lock(path):
      head = ["claim", "source", "measured", "expected", "published", "holds"]
      rows, failed = [], False
      for number, fact in enumerate(self.facts, 1):
        value = fact.measure()
        failed |= not fact.holds(value)
        holds = "yes" if fact.holds(value) else "NO"
        row = [fact.claim, fact.source, f"{value:.4g}", fact.expected]
        rows.append([*row, fact.published or "–", holds])
        print(
          f"[{number}/{len(self.facts)}] {fact.claim}: {value:.4g} ({holds})",
          file=sys.stderr, flush=True,
        )  # fmt: skip
      text = markdown(self.title, head, rows, self.notes)
      write_whole(path / "table.md", text.encode())
      picture = b""
      if self.draw is not None:
        self.draw(path / "figure.png")
        picture = (path / "figure.png").read_bytes()
      text = page(self.title, head, rows, self.notes, picture)
      write_whole(path / "report.html", text.encode())
    print(f"{path}: done; see {path / 'report.html'}", file=sys.stderr)
    return int(failed)
