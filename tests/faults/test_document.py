"""Every row of docs/faults.md is seen in this folder."""

import ast
from pathlib import Path

from tests.faults.case import ROWS


def test_every_row_of_the_document_is_seen_here():
  words = set()
  for file in Path(__file__).parent.glob("test_*.py"):
    code = ast.parse(file.read_text(encoding="utf-8"))
    words |= {node.value for node in ast.walk(code) if isinstance(node, ast.Constant)}
  assert len(ROWS) >= 30
  assert set(ROWS) <= words
