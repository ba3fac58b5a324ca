"""`transformer attend`: what a model attends to, as a page, a figure or arrays."""

from transformer.cli import flags
from transformer.cli.output_format import (
  add_output_format,
  output_format_from,
  write_output,
)

FORMATS = ("html", "png", "npz", "json")


def add_arguments(parser: flags.VerbParser) -> None:
  """The input, and what is made of it."""
  flags.add_run(parser)
  parser.add_argument(
    "text", metavar="TEXT",
    help="a text; an image file for a model of images; a story with a question for "
    "one that answers questions",
  )  # fmt: skip
  parser.add_argument(
    "--reference", metavar="TEXT",
    help="a translation to show (default: the model's own)",
  )  # fmt: skip
  add_output_format(parser, FORMATS, "attention")
  parser.add_argument(
    "--attention", metavar="NAME",
    help="png: the attention to draw, such as decoder/source_attention, which is also "
    "the default where there is one",
  )  # fmt: skip
  parser.add_argument(
    "--layer", type=int, metavar="N", help="png: the layer, from 1 (default: the last)"
  )
  parser.add_argument(
    "--head", type=int, metavar="N",
    help="png: the head, from 1 (default: the mean over heads)",
  )  # fmt: skip
  flags.add_search(parser)
  flags.add_languages(parser)
  flags.add_step(parser)


def run(arguments) -> None:
  """Show what a model attends to: a page, a figure, or arrays.

  The page is one HTML file that needs no network: all heads, one token at a time, the
  inside of a head, the mean over heads and the rollout (Abnar and Zuidema 2020). Works
  for every model with attention; a translation is the model's own unless --reference is
  given.
  """
  from transformer.inspection.attention import attention_of
  from transformer.inspection.attention_figure import figure
  from transformer.inspection.attention_page import as_json, as_npz, page
  from transformer.inspection.inputs import Opened
  from transformer.runs.run import Run

  output, kind = output_format_from(arguments, FORMATS, "attention")
  for flag in ("attention", "layer", "head"):
    if kind != "png" and getattr(arguments, flag) is not None:
      raise ValueError(
        f"--{flag}: chooses what a png shows, and {kind} has every head; leave it out, "
        "or give --format png"
      )
  run = flags.with_languages(arguments, Run.open(arguments.run_path))
  search = flags.search_from(arguments)
  opened = Opened.with_search(run, run.params(arguments.step), search)
  found = attention_of(opened, arguments.text, arguments.reference)
  if kind == "png":
    data = figure(found, arguments.attention, arguments.layer, arguments.head)
  elif kind == "npz":
    data = as_npz(found)
  else:
    data = (page if kind == "html" else as_json)(found).encode()
  write_output(output, data)
