"""A page for a reader: a figure, a table and notes in one file that needs no other."""

import base64
import html
from collections.abc import Sequence

STYLE = """
body { font: 15px/1.5 sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em }
table { border-collapse: collapse; font-size: 13px }
th, td { border-bottom: 1px solid #bbb; padding: 2px 8px; text-align: right }
th:nth-child(-n+2), td:nth-child(-n+2) { text-align: left }
img { max-width: 100% }
.wide { overflow-x: auto }
"""


def page(
  title: str,
  head: Sequence[str],
  rows: Sequence[Sequence[str]],
  notes: Sequence[str],
  picture: bytes,
) -> str:
  """HTML; `picture` is a PNG, or empty."""

  def row(kind: str, texts: Sequence[str]) -> str:
    return (
      "<tr>" + "".join(f"<{kind}>{html.escape(t)}</{kind}>" for t in texts) + "</tr>"
    )

  title, image = html.escape(title), base64.b64encode(picture).decode()
  lines = [
    "<!doctype html>",
    f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
    f"<style>{STYLE}</style></head><body>",
    f"<h1>{title}</h1>",
    f'<img alt="{title}" src="data:image/png;base64,{image}">' if picture else "",
    '<div class="wide"><table>',
    row("th", head),
    *(row("td", texts) for texts in rows),
    "</table></div><ul>",
    *(f"<li>{html.escape(note)}</li>" for note in notes),
    "</ul></body></html>",
  ]
  return "\n".join(lines) + "\n"


def markdown(
  title: str,
  head: Sequence[str],
  rows: Sequence[Sequence[str]],
  notes: Sequence[str],
) -> str:
  """The same as Markdown, without the figure; from the third column on, numbers stand
  to the right."""
  dashes = ["---", "---", *("---:" for _ in head[2:])]
  cells = [
    [text.replace("|", "\\|").replace("\n", " ") for text in row] for row in rows
  ]
  table = ["| " + " | ".join(row) + " |" for row in (head, dashes, *cells)]
  return "\n".join([f"# {title}", "", *table, "", *(f"* {n}" for n in notes), ""])
