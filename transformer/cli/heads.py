"""`transformer heads`: what each attention head is worth."""

import sys

from transformer.cli import flags
from transformer.cli.output_format import (
  add_output_format,
  output_format_from,
  write_output,
)

FORMATS = ("html", "png", "json")


def add_arguments(parser: flags.VerbParser) -> None:
  """The data, and what is made of it."""
  flags.add_run(parser)
  parser.add_argument(
    "--split", default="val", metavar="SPLIT", help="train, val or test (default val)"
  )
  parser.add_argument(
    "--limit", type=int, metavar="N",
    help="score the first N sentences alone (translations; default: all)",
  )  # fmt: skip
  add_output_format(parser, FORMATS, "heads")
  flags.add_json(parser)
  flags.add_step(parser)


def run(arguments) -> None:
  """Score a run on held-out data with each attention head masked in turn.

  Prints a table (Michel et al. 2019), the most important head first, with the entropy
  of each head's weights and their mean distance; with --output or --format, also writes
  a heat map. Takes as many evaluations as the model has heads.
  """
  import tqdm

  from transformer import config as configs
  from transformer.inspection.heads import count_heads, heads_of
  from transformer.inspection.heads_page import as_json, figure, page, table
  from transformer.runs.run import Run

  if arguments.limit is not None:
    configs.check_at_least("--limit", arguments.limit, 1)
  wants_file = bool(arguments.output or arguments.format)
  if wants_file:
    output, kind = output_format_from(arguments, FORMATS, "heads")
  run = Run.open(arguments.run_path)
  with tqdm.tqdm(
    total=count_heads(run), unit=" heads", disable=not sys.stderr.isatty()
  ) as bar:
    opened = run if arguments.step is None else opened_at(run, arguments.step)
    found = heads_of(opened, arguments.split, arguments.limit, bar.update)
  print(as_json(found) if arguments.json else table(found))
  if not wants_file:
    return
  if kind == "png":
    data = figure(found)
  else:
    data = (page if kind == "html" else as_json)(found).encode()
  write_output(output, data, prints_data=arguments.json)


def opened_at(run, step: int):
  """A run with one of its checkpoints."""
  from transformer.inspection.inputs import Opened

  return Opened(run, run.params(step))
