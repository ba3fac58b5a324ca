"""What `transformer evaluate` stored in a run: scores, all that they depend on, and the
outputs."""

import dataclasses
from pathlib import Path
from typing import Any

from transformer import config as configs
from transformer.inference.search import Search

CONDITIONS = ("step", "weights", "precision", "mbr", "seed", "device")
"""Items of a record that say how it was made, beside its text and search."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """A record of a run's folder `evaluations`.

  Attributes:
    name: that of its files.
    items: the record; empty where it could not be read.
    sources, outputs, references: its texts, a line each; older versions stored no
      sources.
  """

  name: str
  items: dict[str, Any]
  sources: list[str]
  outputs: list[str]
  references: list[str]

  def record(self) -> dict[str, Any]:
    """Scores, signatures and conditions, for a page."""
    items = self.items
    if not items:
      return {"name": self.name, "text": "unreadable", "scores": {}, "how": {}}
    scores = {
      name: value
      for name, value in items.items()
      if isinstance(value, int | float) and name not in CONDITIONS
    }
    how = {name: str(items[name]) for name in CONDITIONS if items.get(name) is not None}
    if items.get("search"):
      how["search"] = search_text(items["search"])
    how |= {name: text for name, text in items.items() if name.endswith("_signature")}
    text = items.get("split") or items.get("source") or ""
    return {"name": self.name, "text": str(text), "scores": scores, "how": how}


def read_evaluations(run: Path) -> list[Evaluation]:
  """All of a run, in the order of their names; one that is damaged has no items."""
  found = []
  for file in sorted((run / "evaluations").glob("*.json")):
    try:
      items = configs.parse_json(file.read_bytes())
    except (OSError, ValueError):
      items = {}
    found.append(
      Evaluation(
        file.stem,
        items if isinstance(items, dict) else {},
        read_lines(file.with_suffix(".source.txt")),
        read_lines(file.with_suffix(".txt")),
        read_lines(file.with_suffix(".reference.txt")),
      )
    )
  return found


def read_lines(file: Path) -> list[str]:
  """The lines of a text; none where there is no file."""
  if not file.is_file():
    return []
  return file.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]


def search_text(tree: Any) -> str:
  """A stored search as on the command line; as JSON where another version wrote it."""
  try:
    return configs.written(configs.load(Search, tree))
  except ValueError:
    return str(tree)
