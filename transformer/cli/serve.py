"""`transformer serve`: runs over HTTP."""

from pathlib import Path

from transformer import config as configs
from transformer.cli import flags


def add_arguments(parser: flags.VerbParser) -> None:
  """The runs, where to listen, and limits."""
  parser.add_argument(
    "runs", metavar="[NAME=]RUN", nargs="+",
    help="directory of a run, and the name that requests choose it by (default: the "
    "directory's)",
  )  # fmt: skip
  parser.add_argument(
    "--port", type=int, default=8080, metavar="N",
    help="port; 0 takes a free one (default 8080)",
  )  # fmt: skip
  parser.add_argument(
    "--host", default="127.0.0.1", metavar="H",
    help="address to listen on; any but this machine's own needs a token (default "
    "127.0.0.1)",
  )  # fmt: skip
  parser.add_argument(
    "--token-file", type=Path, metavar="FILE",
    help="file with the token that requests must have (default: none on this machine, "
    "else a new one, which is printed)",
  )  # fmt: skip
  parser.add_argument(
    "--max-tokens", type=int, default=256, metavar="N",
    help="longest text in tokens; longer ones are refused (default 256)",
  )  # fmt: skip
  parser.add_argument(
    "--queue", type=int, default=1024, metavar="N",
    help="texts that may wait; more are refused (default 1024)",
  )  # fmt: skip
  parser.add_argument(
    "--no-warmup", action="store_true",
    help="compile each batch shape when it is first needed, not at the start",
  )  # fmt: skip
  flags.add_batch_size(parser)
  flags.add_weights(parser)


def run(arguments) -> None:
  """Serve runs over HTTP: JSON in and out.

  Requests that come together share batches, and get the answers that the verbs give.
  SIGTERM or Ctrl-C answers what was accepted, and ends.
  """
  for flag, least in (("--port", 0), ("--max-tokens", 2), ("--queue", 1)):
    name = flag.removeprefix("--").replace("-", "_")
    configs.check_at_least(flag, getattr(arguments, name), least)
  configs.check_at_least("--batch-size", arguments.batch_size, 1)
  if arguments.port > 65535:
    raise ValueError(f"--port: expected at most 65535, got {arguments.port}")
  runs = named(arguments.runs)
  from transformer.server.limits import Limits
  from transformer.server.process import serve

  limits = Limits(
    tokens=arguments.max_tokens,
    queue=arguments.queue,
    batch_tokens=arguments.batch_size,
  )
  serve(
    runs,
    arguments.host,
    arguments.port,
    limits,
    arguments.token_file,
    int8=arguments.weights == "int8",
    warm_up=not arguments.no_warmup,
  )


def named(words: list[str]) -> list[tuple[str, Path]]:
  """Runs with their names.

  Raises:
    ValueError: two have the same name.
  """
  runs: list[tuple[str, Path]] = []
  for word in words:
    name, equals, path = word.partition("=")
    if not equals or "/" in name:
      name, path = Path(word).resolve().name, word
    if name in dict(runs):
      raise ValueError(
        f"{word}: another run is named {name} already; write NAME={path}"
      )
    runs.append((name, Path(path)))
  return runs
