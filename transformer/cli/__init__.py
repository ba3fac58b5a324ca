"""The verbs: `transformer VERB RUN …` uses a run that `train.py` made."""

import argparse
import sys
from collections.abc import Callable

from transformer import config as configs
from transformer.cli import flags
from transformer.cli.ablate import ablate, ablate_flags
from transformer.cli.average import average, average_flags, info
from transformer.cli.classify import classify, classify_flags
from transformer.cli.compare import compare, compare_flags
from transformer.cli.evaluate import evaluate, evaluate_flags
from transformer.cli.export import export, export_flags
from transformer.cli.fill import fill, fill_flags
from transformer.cli.generate import generate, generate_flags
from transformer.cli.plan import plan, plan_flags
from transformer.cli.translate import score, score_flags, translate, translate_flags


def main(argv: list[str] | None = None) -> int:
  """Runs one verb; an error of the user's is one line and status 1."""
  verbs = parser()
  arguments, rest = verbs.parse_known_args(argv)
  if hasattr(arguments, "overrides"):
    arguments.overrides, rest = configs.flags(rest)
  # argparse takes no further texts after a flag by itself.
  if rest and (not hasattr(arguments, "texts") or rest[0].startswith("--")):
    verbs.error(f"unrecognized arguments: {' '.join(rest)}")
  if rest:
    arguments.texts += rest
  from transformer.runs.compilation_cache import enable_compilation_cache

  enable_compilation_cache()
  try:
    return arguments.verb(arguments) or 0
  except (ValueError, OSError) as error:
    print(f"error: {error}", file=sys.stderr)
    return 1
  except KeyboardInterrupt:
    print("stopped", file=sys.stderr)
    return 130


def parser() -> argparse.ArgumentParser:
  """All verbs and their flags."""
  top = argparse.ArgumentParser(prog="transformer", description=__doc__)
  verbs = top.add_subparsers(metavar="VERB", required=True, parser_class=flags.Verb)

  def verb(function: Callable, *parts: Callable) -> None:
    summary = (function.__doc__ or "").split("\n\n")[0].replace("\n", " ")
    new = verbs.add_parser(function.__name__, help=summary, description=summary)
    new.set_defaults(verb=function)
    for part in parts:
      part(new)

  run, json, search = flags.run, flags.json, flags.search
  model = (flags.weights, flags.checkpoint)
  looking = (search, flags.draw, flags.batch_size, *model)
  verb(translate, run, translate_flags, *looking)
  verb(generate, run, generate_flags, flags.checkpoint)
  verb(fill, run, fill_flags, flags.checkpoint)
  verb(score, run, score_flags, flags.penalty, flags.batch_size, *model)
  verb(classify, run, classify_flags, flags.checkpoint)
  verb(evaluate, run, evaluate_flags, *looking, json)
  verb(compare, compare_flags, json)
  verb(average, run, average_flags)
  verb(export, run, export_flags, search, *model)
  verb(info, run, flags.checkpoint, json)
  verb(plan, plan_flags, json)
  verb(ablate, ablate_flags)
  return top
