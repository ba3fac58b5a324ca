"""`fill`: what a masked language model puts into the gaps of texts."""

import contextlib
import sys
from pathlib import Path

from transformer.cli import flags
from transformer.cli.lines import Output, as_json, line_chunks, source_stream


def fill_flags(new: flags.Verb) -> None:
  """What goes in, and how much comes out."""
  new.add_argument(
    "texts", metavar="TEXT", nargs="*",
    help="a text with [MASK] for every piece that lacks; default: standard input, a "
    "text a line",
  )  # fmt: skip
  new.add_argument("--input", type=Path, help="a file, one text a line")
  new.add_argument("--output", type=Path, help="appears once it is whole")
  new.add_argument(
    "--top", type=int, default=5, help="how many pieces for every mask (default 5)"
  )
  new.add_argument(
    "--json", action="store_true",
    help="an object a text: source, text, and for every mask its pieces and their "
    "probabilities",
  )  # fmt: skip


def fill(arguments) -> None:
  """Fills in texts with [MASK] in them: the most probable pieces, with probabilities.

  For every text a line with the best piece at every mask, then for every mask and piece
  a line: number of the mask, probability and piece, with tabs between them. Each mask
  is filled by itself.
  """
  from transformer.runs.filler import Filler

  if arguments.texts and arguments.input:
    raise ValueError("give texts or --input, not both")
  with contextlib.ExitStack() as stack:
    chunks = iter([arguments.texts])
    if not arguments.texts:
      stream = stack.enter_context(source_stream(arguments.input))
      typed = arguments.input is None and sys.stdin.isatty()
      name = str(arguments.input or "standard input")
      chunks = line_chunks(stream, name, 1) if typed else line_chunks(stream, name)
    filler = Filler.open(arguments.run, arguments.step)
    out = stack.enter_context(Output(arguments.output))
    for texts in chunks:
      for source, found in zip(texts, filler.fill(texts, arguments.top), strict=True):
        out.write(rows(source, found, arguments.json))


def rows(source: str, found, json_wanted: bool) -> list[str]:
  """The lines for one text."""
  if json_wanted:
    masks = [
      [{"piece": one.piece, "probability": one.probability} for one in guesses]
      for guesses in found.masks
    ]
    return [as_json({"source": source, "text": found.text, "masks": masks})]
  lines = [found.text]
  for number, guesses in enumerate(found.masks, start=1):
    lines += [f"{number}\t{one.probability:.4f}\t{one.piece}" for one in guesses]
  return lines
