"""The process of a server: opens the runs, compiles, listens, and ends in order."""

import ipaddress
import secrets
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import uvicorn

from transformer.server import page
from transformer.server.app import make_app
from transformer.server.batching import Batcher
from transformer.server.guard import LOOPBACK, Access
from transformer.server.limits import Limits
from transformer.server.metrics import Metrics
from transformer.server.models import Model

OPEN_PATHS = frozenset({"/health", *page.PATHS})
"""Answered without a token: for probes, and the page that asks for the token."""

KEEP_ALIVE_SECONDS = 75
"""How long an idle connection stays open: longer than the 60 seconds after which
proxies close theirs, so that none sends a request on a connection that the server is
closing."""


def serve(
  runs: Sequence[tuple[str, Path]],
  host: str,
  port: int,
  limits: Limits,
  token_file: Path | None = None,
  int8: bool = False,
  warm_up: bool = True,
) -> None:
  """Serves runs until SIGTERM or SIGINT; then answers what it has accepted.

  Raises:
    OSError, ValueError: a run cannot be opened, or the address cannot be listened on.
  """
  access = access_for(host, token_file)
  models = [Model.open(name, path, limits, int8) for name, path in runs]
  # Before the programs are compiled, which takes minutes.
  listener = listen(host, port)
  if warm_up:
    compile_programs(models)
  batcher = Batcher(limits, lambda *batch: metrics.batch(*batch), jax.clear_caches)
  metrics = Metrics(lambda: batcher.waiting)
  app = make_app(models, limits, batcher, metrics, access)
  batcher.start()
  server = uvicorn.Server(
    uvicorn.Config(
      app, access_log=False, log_level="warning", lifespan="off", http="h11",
      server_header=False, ws="none", timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
  )  # fmt: skip
  url = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}/"
  # Whoever reads the next line may ask at once.
  listener.listen(server.config.backlog)
  print(f"serving {', '.join(m.name for m in models)} on {url}", file=sys.stderr)
  if access.token and token_file is None:
    print(f"the token of this server: {access.token}", file=sys.stderr)
  sys.stderr.flush()
  # Uvicorn raises the signal that ended it once more, for the handler of before.
  for each in (signal.SIGTERM, signal.SIGINT):
    signal.signal(each, lambda *_: None)
  server.run([listener])
  batcher.close()


def access_for(host: str, token_file: Path | None) -> Access:
  """Who may ask: anyone on the machine itself, and from elsewhere who has the token.

  Raises:
    OSError: the file cannot be read.
    ValueError: it has no token.
  """
  loopback = is_loopback(host)
  token = ""
  if token_file is not None:
    token = read_token(token_file)
  elif not loopback:
    token = secrets.token_urlsafe(32)
  if not loopback:
    print(
      f"warning: {host} can be reached from other machines, and HTTP is not encrypted; "
      "put a proxy with TLS before it, or use --host 127.0.0.1",
      file=sys.stderr,
    )
  return Access(token, loopback, OPEN_PATHS)


def read_token(path: Path) -> str:
  """The token in a file.

  Raises:
    OSError: it cannot be read.
    ValueError: it has none, or a short one.
  """
  try:
    token = path.read_text(encoding="utf-8").strip()
  except OSError as error:
    raise OSError(f"{path}: cannot be read ({error.strerror})") from None
  if len(token) < 16 or not token.isascii() or not token.isprintable():
    raise ValueError(
      f"{path}: expected a token of 16 or more ASCII characters, got {len(token)}"
    )
  return token


def is_loopback(host: str) -> bool:
  """Whether a host can be reached from the machine itself alone."""
  try:
    return ipaddress.ip_address(host).is_loopback
  except ValueError:
    return host in LOOPBACK


def listen(host: str, port: int) -> socket.socket:
  """A socket that is bound.

  Raises:
    OSError: the address is in use, or not this machine's.
  """
  try:
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
  except OSError as error:
    raise OSError(f"--host {host} --port {port}: {error.strerror}") from None
  listener.set_inheritable(True)
  return listener


def compile_programs(models: Sequence[Model]) -> None:
  """Compiles what requests with default settings need, and says so."""
  for model in models:
    for endpoint in model.endpoints.values():
      for program in endpoint.warm_up():
        print(f"compiling {model.name}: /{endpoint.path}, {program}", file=sys.stderr)
        sys.stderr.flush()
