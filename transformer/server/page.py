"""The page at `/`: its files, which are read once, and what they may do."""

import importlib.resources

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from transformer.inspection.page import HEADERS, read_part

SCRIPTS = ("api.js", "tasks.js", "results.js", "files.js", "main.js")
"""In the order in which they use one another, after the shared `page.js`."""

POLICY = (
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
  "img-src data: blob:; frame-src 'self'; base-uri 'none'; form-action 'none'; "
  "frame-ancestors 'none'"
)
"""What a browser may do for the page: no inline script, nothing of another site."""


def read_file(name: str) -> str:
  """The text of a file in the folder `pages`."""
  folder = importlib.resources.files("transformer.server") / "pages"
  return (folder / name).read_text(encoding="utf-8")


def contents() -> dict[str, tuple[str, str, dict[str, str]]]:
  """Text, media type and headers by path."""
  script = "".join([read_part("page.js"), *map(read_file, SCRIPTS)])
  policy = {"Content-Security-Policy": POLICY}
  # The frame shows pages of `transformer.inspection`, whose scripts are inline. They
  # get what those pages get by themselves: no origin and no network.
  own = HEADERS["Content-Security-Policy"]
  frame = {"Content-Security-Policy": f"{own}; frame-ancestors 'self'"}
  return {
    "/": (read_file("index.html"), "text/html", policy),
    "/page.css": (read_part("page.css") + read_file("index.css"), "text/css", {}),
    "/page.js": (script, "text/javascript", {}),
    "/frame": (read_file("frame.html"), "text/html", frame),
  }


PATHS = ("/", "/page.css", "/page.js", "/frame")
"""They have no data, and need no token."""


def routes() -> list[Route]:
  """The routes of the page."""
  found = contents()
  assert found.keys() == set(PATHS)
  return [Route(path, answer(*found[path])) for path in PATHS]


def answer(text: str, kind: str, headers: dict[str, str]):
  """What answers with one text."""
  data = text.encode()

  async def respond(request: Request) -> Response:
    return Response(data, media_type=kind, headers=headers)

  return respond
