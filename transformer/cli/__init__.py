"""The `transformer` command: each verb uses a run that `train.py` made.

A verb is a module with two functions: `add_arguments(parser)` declares its flags, and
`run(arguments)` does the work; the docstring of `run` is the verb's help.
"""

import argparse
import inspect
import sys

from transformer import config as configs
from transformer.cli import (
  ablate,
  average,
  classify,
  compare,
  embed,
  evaluate,
  export,
  fill,
  flags,
  generate,
  info,
  plan,
  score,
  translate,
)

VERBS = (
  *(translate, generate, fill, score, classify, embed, evaluate, compare),
  *(average, export),
  *(info, plan, ablate),
)
"""In the order of `--help`. None of these modules imports JAX before `run`."""


def main(argv: list[str] | None = None) -> int:
  """Runs one verb and returns the exit status; an error of the user's is one line on
  standard error and status 1."""
  try:
    arguments = parse(argv)
    from transformer.runs.compilation_cache import enable_compilation_cache

    enable_compilation_cache()
    return arguments.run(arguments) or 0
  except (ValueError, OSError) as error:
    print(f"error: {error}", file=sys.stderr)
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
  if rest and (not hasattr(arguments, "texts") or rest[0].startswith("--")):
    parser.error(f"unrecognized arguments: {' '.join(rest)}")
  if rest:
    arguments.texts += rest
  return arguments


def command_parser() -> argparse.ArgumentParser:
  """The parser of the whole command."""
  parser = argparse.ArgumentParser(
    prog="transformer", description="Use a run that train.py made."
  )
  flags.add_import(parser)
  verbs = parser.add_subparsers(
    metavar="VERB", required=True, parser_class=flags.VerbParser
  )
  for module in VERBS:
    text = inspect.getdoc(module.run) or ""
    name = module.__name__.rpartition(".")[2]
    verb = verbs.add_parser(
      name, help=" ".join(text.split("\n\n")[0].split()), description=text
    )
    module.add_arguments(verb)
    flags.add_import(verb)
    verb.set_defaults(run=module.run)
  return parser
