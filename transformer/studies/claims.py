"""A study without training: claims of a source, each checked by computing a number."""

import dataclasses
import math
import sys
from collections.abc import Callable
from pathlib import Path

from transformer.runs.directory import claim, write_atomic
from transformer.studies.fields import check_fields
from transformer.studies.page import csv_text, markdown, page


@dataclasses.dataclass(frozen=True)
class Claim:
  """A claim about a number, and the range of the number if it holds.

  Attributes:
    text: the claim in a sentence.
    source: who makes it, or derives it.
    measure: computes the number.
    least, most: its range, both included.
    published: the source's own figure, as it is printed.
  """

  text: str
  source: str
  measure: Callable[[], float]
  least: float = -math.inf
  most: float = math.inf
  published: str = ""

  def __post_init__(self):
    check_fields(self)

  def holds(self, value: float) -> bool:
    """Whether a measured number is in the range."""
    return self.least <= value <= self.most

  @property
  def expected(self) -> str:
    """The range, for the reader."""
    if self.least == self.most:
      return f"{self.least:g}"
    if self.least == -math.inf:
      return f"at most {self.most:g}"
    if self.most == math.inf:
      return f"at least {self.least:g}"
    return f"{self.least:g} to {self.most:g}"


@dataclasses.dataclass(frozen=True)
class Claims:
  """Claims under one title.

  Attributes:
    title: the question.
    claims: what is checked.
    draw: writes a figure into a file, if there is one.
    notes: sentences for the reader.
  """

  title: str
  claims: tuple[Claim, ...]
  draw: Callable[[Path], None] | None = None
  notes: tuple[str, ...] = ()

  def __post_init__(self):
    check_fields(self)

  def run(self, directory: Path) -> int:
    """Measures all and writes table.md, table.csv, report.html and figure.png; the exit
    status: 1 where one does not hold.

    Raises:
      ValueError: the directory is in use or something else.
    """
    path = Path(directory)
    with claim(path, "table.md", "study"):
      head = ["claim", "source", "measured", "expected", "published", "holds"]
      names = ["claim", "source", "measured", "least", "most", "published", "holds"]
      rows, numbers, failed = [], [names], False
      for number, one in enumerate(self.claims, 1):
        start = f"[{number}/{len(self.claims)}] {one.text}"
        try:
          value = float(one.measure())
        except Exception as error:
          # The other claims are checked all the same.
          value = math.nan
          print(f"{start}: {type(error).__name__}: {error}", file=sys.stderr)
        failed |= not one.holds(value)
        holds = "yes" if one.holds(value) else "NO"
        row = [one.text, one.source, f"{value:.4g}", one.expected]
        rows.append([*row, one.published or "–", holds])
        numbers.append([
          *(one.text, one.source, repr(value), repr(one.least), repr(one.most)),
          *(one.published, holds.lower()),
        ])  # fmt: skip
        print(f"{start}: {value:.4g} ({holds})", file=sys.stderr, flush=True)
      text = markdown(self.title, head, rows, self.notes)
      write_atomic(path / "table.md", text.encode())
      write_atomic(path / "table.csv", csv_text(numbers).encode())
      picture = b""
      if self.draw is not None:
        try:
          self.draw(path / "figure.png")
          picture = (path / "figure.png").read_bytes()
        except Exception as error:
          text = f"{type(error).__name__}: {error}"
          print(f"{path}: no figure could be drawn ({text})", file=sys.stderr)
      text = page(self.title, head, rows, self.notes, picture)
      write_atomic(path / "report.html", text.encode())
    print(f"{path}: done; see {path / 'report.html'}", file=sys.stderr)
    return int(failed)
