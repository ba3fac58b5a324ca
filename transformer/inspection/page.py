"""Pages that need no other file and no network: HTML with style, script and data in
it."""

import base64
import html
import importlib.resources
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from transformer.data.sources.image_folder import load_pillow

POLICY = (
  "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
  "img-src data:"
)
"""What a browser may load for a page: nothing from elsewhere."""

HEADERS = {"Content-Security-Policy": f"sandbox allow-scripts; {POLICY}"}
"""Of HTTP, where a server answers with a page: it is of no origin, so that nothing of
the server's can be read by its script."""

TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
{body}<script type="application/json" id="data">{data}</script>
<script>
{script}</script>
</body>
</html>
"""


READ_DATA = 'const data = JSON.parse(document.getElementById("data").textContent);\n'


def assemble(
  name: str, title: str, data: dict[str, Any], parts: Sequence[str] = ()
) -> str:
  """The page `name` of the folder `pages`, with data for its script, and the styles and
  scripts of `parts` of it that other pages have too.

  The text of users is in the data alone, which a script shows as text and never as
  HTML.
  """
  files = ("page", *parts, name)
  return TEMPLATE.format(
    policy=POLICY,
    title=html.escape(title),
    style="".join(read_part(f"{part}.css") for part in files),
    body=read_part(f"{name}.html"),
    script=read_part("page.js")
    + READ_DATA
    + "".join(read_part(f"{part}.js") for part in (*parts, name)),
    data=embed(data),
  )


def read_part(name: str) -> str:
  """The text of a file in the folder `pages`."""
  folder = importlib.resources.files("transformer.inspection") / "pages"
  return (folder / name).read_text(encoding="utf-8")


def embed(data: dict[str, Any]) -> str:
  """JSON that is the same inside HTML: no text in it can end the script element."""
  text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
  return text.replace("<", "\\u003c")


def picture_url(image_yxc: np.ndarray) -> str:
  """An image as a PNG inside a URL."""
  pillow = load_pillow()
  flat = image_yxc[..., 0] if image_yxc.shape[-1] == 1 else image_yxc
  buffer = io.BytesIO()
  pillow.Image.fromarray(flat).save(buffer, "PNG")
  return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
