"""A page that shows a beam search as a tree."""

import json
from typing import Any

from transformer.inspection.page import assemble
from transformer.inspection.search_tree import SearchTree


def page(found: SearchTree) -> str:
  """One HTML file without any other."""
  return assemble("beam", f"Beam search of {found.run}", as_record(found))


def as_json(found: SearchTree) -> str:
  """Everything as one JSON object, whose fields are those of `SearchTree`."""
  return json.dumps(as_record(found), ensure_ascii=False)


def as_record(found: SearchTree) -> dict[str, Any]:
  """The tree as dicts and lists."""
  candidates = [
    {**each._asdict(), "alternatives": [other._asdict() for other in each.alternatives]}
    for each in found.candidates
  ]
  return {
    **found._asdict(),
    "start": [each._asdict() for each in found.start],
    "candidates": candidates,
    "outputs": [each._asdict() for each in found.outputs],
  }
