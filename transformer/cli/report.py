"""`transformer report`: one or several runs as one page."""

from pathlib import Path

from transformer.cli import flags
from transformer.cli.output_format import (
  add_output_format,
  output_format_from,
  write_output,
)


def add_arguments(parser: flags.VerbParser) -> None:
  """The runs, and the page."""
  parser.add_argument(
    "runs", metavar="RUN", nargs="+", type=Path,
    help="run that train.py made, or the directory of a study: all its rows",
  )  # fmt: skip
  add_output_format(parser, ("html",), "report")


def run(arguments) -> None:
  """Write one page of one or several runs: curves, settings, scores, samples.

  Draws what metrics.csv holds over updates, seconds of training or target tokens, and
  shows the settings that differ, the scores that evaluate stored, with their
  signatures, and stored outputs side by side. A run may still be training. The page is
  one HTML file that needs no network.
  """
  from transformer.studies.run_report import report_page

  output, _ = output_format_from(arguments, ("html",), "report")
  write_output(output, report_page(arguments.runs).encode())
