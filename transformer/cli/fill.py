"""`transformer fill`: the masked pieces of a text, by a masked language model."""

import contextlib
import sys

from transformer.cli import flags
from transformer.cli.lines import (
  Output,
  add_input,
  add_output,
  add_texts,
  as_json,
  chunk_size,
  chunks,
  input_items,
  text_of,
)


def add_arguments(parser: flags.VerbParser) -> None:
  """Texts in, and what comes out."""
  flags.add_run(parser)
  add_texts(
    parser,
    "text with [MASK] for every missing piece (default: standard input, one text per "
    "line)",
  )
  add_input(parser)
  add_output(parser)
  parser.add_argument(
    "--top", type=int, default=5, metavar="N",
    help="print the N most probable pieces of each mask (default 5)",
  )  # fmt: skip
  flags.add_json(
    parser,
    " per text: source, text, and for every mask its pieces with their probabilities",
  )
  flags.add_mesh(parser)
  flags.add_step(parser)


def run(arguments) -> int:
  """Fill every [MASK] in texts with its most probable pieces.

  Prints for each text a line with the best piece at every mask, then for every mask and
  piece a line with the number of the mask, the probability and the piece, separated by
  tabs. Each mask is predicted independently of the others. A text that cannot be filled
  in is an error line and exit status 1, after all the others.
  """
  from transformer import config as configs
  from transformer.runs.filler import Filler

  configs.check_at_least("--top", arguments.top, 1)
  failures = 0
  with contextlib.ExitStack() as stack:
    items = input_items(stack, arguments.texts, arguments.input)
    output = stack.enter_context(Output(arguments.output))
    filler = Filler.open(
      arguments.run_path, arguments.step, flags.devices_from(arguments)
    )
    size = chunk_size(arguments.texts, arguments.input)
    for chunk in chunks(enumerate(items, start=1), size):
      texts, sources = [], []
      for number, item in chunk:
        try:
          sources.append(filler.encode(text_of(item)))
          texts.append(text_of(item))
        except ValueError as error:
          failures += 1
          print(f"error: text {number:,}: {error}", file=sys.stderr)
      results = filler.fill_encoded(sources, arguments.top)
      for source, result in zip(texts, results, strict=True):
        output.write_lines(format_result(source, result, arguments.json))
  return int(failures > 0)


def format_result(source: str, result, json: bool) -> list[str]:
  """The output lines for one text."""
  if json:
    masks = [
      [{"piece": each.piece, "probability": each.probability} for each in pieces]
      for pieces in result.masks
    ]
    return [as_json({"source": source, "text": result.text, "masks": masks})]
  lines = [result.text]
  for number, pieces in enumerate(result.masks, start=1):
    lines += [f"{number}\t{each.probability:.4f}\t{each.piece}" for each in pieces]
  return lines
