"""The `transformer` command: each verb uses a run that `train.py` made.

A verb is a module with two functions: `add_arguments(parser)` declares its flags, and
`run(arguments)` does the work; the docstring of `run` is the verb's help.
"""

import argparse
import gc
import inspect
import sys

from transformer import config as configs
from transformer.cli import (
  ablate,
  attend,
  average,
  beam,
  classify,
  compare,
  convert,
  embed,
  evaluate,
  export,
  fill,
  generate,
  heads,
  info,
  plan,
  report,
  score,
  serve,
  settings,
  streams,
  translate,
)
from transformer.cli.parser import CommandParser, VerbParser, add_import, is_flag
from transformer.data.text import check_text
from transformer.runs.freed_memory import keep_freed_memory

VERBS = (
  *(translate, generate, fill, score, classify, embed, evaluate, compare, average),
  *(export, convert, serve, info, report, attend, beam, heads, plan, ablate),
  settings,
)
"""In the order of `--help`. None of these modules imports JAX before `run`."""


def main(argv: list[str] | None = None) -> int:
  """Runs one verb and returns the exit status; an error of the user's is one line on
  standard error and status 1."""
  streams.prepare()
  # Importing and tracing make many objects that stay; at Python's own thresholds,
  # looking through them again and again takes a tenth of the start.
  gc.set_threshold(100_000, 20, 100)
  try:
    try:
      arguments = parse(argv)
    except SystemExit:
      streams.flush()  # of --help
      raise
    streams.check_output(arguments)
    keep_freed_memory()
    from transformer.runs.compilation_cache import enable_compilation_cache

    enable_compilation_cache()
    status = arguments.run(arguments) or 0
    streams.flush()
    return status
  except BrokenPipeError:
    return streams.die_of_broken_pipe()
  except (ValueError, OSError) as error:
    print(f"error: {streams.describe(error)}", file=sys.stderr)
    return 1
  except (MemoryError, RuntimeError) as error:
    if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(error):
      raise
    print(f"error: out of memory; {smaller(arguments)}", file=sys.stderr)
    return 1
  except KeyboardInterrupt:
    print("interrupted", file=sys.stderr)
    return 130


def parse(argv: list[str] | None) -> argparse.Namespace:
  """The arguments of a command line, with `--config.name=value` settings in `overrides`
  for the verbs that take them. A wrong command line exits with status 2."""
  parser = command_parser()
  arguments, rest = parser.parse_known_args(argv)
  if hasattr(arguments, "overrides"):
    arguments.overrides, rest = configs.split_flags(rest)
  # By itself argparse takes no more texts once a flag has followed the first ones.
  end = rest.index("--") if "--" in rest else len(rest)
  wrong = rest
  if hasattr(arguments, "texts"):
    wrong = [word for word in rest[:end] if is_flag(word)]
  if wrong:
    arguments.parser.error(f"unrecognized arguments: {' '.join(wrong)}")
  if rest:
    arguments.texts += rest[:end] + rest[end + 1 :]
  check_words(arguments)
  return arguments


def smaller(arguments: argparse.Namespace) -> str:
  """What to change where the memory does not suffice."""
  flags_of_size = {"batch_size": "--batch-size", "beam": "--beam", "extra": "--extra",
                   "samples": "--samples", "max_length": "--max-length"}  # fmt: skip
  found = [flag for name, flag in flags_of_size.items() if hasattr(arguments, name)]
  return f"lower {' or '.join(found)}" if found else "use a larger machine"


def check_words(arguments: argparse.Namespace) -> None:
  """Raises ValueError if the value of a flag is empty or not UTF-8. Paths need not be
  UTF-8, and the verbs check their texts."""
  for name, value in vars(arguments).items():
    for word in value if isinstance(value, list) else [value]:
      if isinstance(word, str) and name != "texts":
        try:
          if not word and name not in ("text", "prefix"):
            raise ValueError("expected a value, got ''")
          check_text(word)
        except ValueError as error:
          raise ValueError(f"--{name.replace('_', '-')}: {error}") from None


def command_parser() -> argparse.ArgumentParser:
  """The parser of the whole command."""
  parser = CommandParser(
    prog="transformer", description="Use a run that train.py made."
  )
  add_import(parser)
  verbs = parser.add_subparsers(metavar="VERB", required=True, parser_class=VerbParser)
  for module in VERBS:
    text = inspect.getdoc(module.run) or ""
    name = module.__name__.rpartition(".")[2]
    verb = verbs.add_parser(
      name, help=" ".join(text.split("\n\n")[0].split()), description=text
    )
    module.add_arguments(verb)
    add_import(verb)
    verb.set_defaults(run=module.run, parser=verb)
  return parser
