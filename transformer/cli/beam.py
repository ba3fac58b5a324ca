"""`transformer beam`: the beam search of a text as a tree."""

from transformer.cli import flags
from transformer.cli.output_format import (
  add_output_format,
  output_format_from,
  write_output,
)

FORMATS = ("html", "json")


def add_arguments(parser: flags.VerbParser) -> None:
  """The text, the search, and what is made of it."""
  flags.add_run(parser)
  parser.add_argument("text", metavar="TEXT", help="the text to translate")
  add_output_format(parser, FORMATS, "beam")
  flags.add_search(parser)
  flags.add_languages(parser)
  flags.add_step(parser)


def run(arguments) -> None:
  """Show the beam search of a translation as a tree, step by step.

  Shows what was kept, dropped and finished, with scores; the most probable
  alternatives; where greedy search went; and why the best output won, its length
  penalty included. The page is one HTML file that needs no network.
  """
  from transformer.inspection.inputs import Opened
  from transformer.inspection.search_tree import beam_of
  from transformer.inspection.search_tree_page import as_json, page
  from transformer.runs.run import Run

  output, kind = output_format_from(arguments, FORMATS, "beam")
  run = flags.with_languages(arguments, Run.open(arguments.run_path))
  search = flags.search_from(arguments)
  if arguments.beam is None and search.beam < 2:
    raise ValueError(
      f"{run.path}: its own search (task.decoding) has a beam of {search.beam}, which "
      "has no tree; give --beam 2 or more"
    )
  found = beam_of(
    Opened.with_search(run, run.params(arguments.step), search), arguments.text
  )
  write_output(output, (page if kind == "html" else as_json)(found).encode())
