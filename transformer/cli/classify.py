"""`transformer classify`: the class of an image or a text."""

import contextlib
import itertools
import sys

from transformer import config as configs
from transformer.cli import flags
from transformer.cli.lines import (
  Output,
  add_texts,
  as_json,
  chunk_size,
  chunks,
  input_items,
)
from transformer.data.text import is_blank


def add_arguments(parser: flags.VerbParser) -> None:
  """The inputs, and how many classes are printed."""
  flags.add_run(parser)
  add_texts(
    parser,
    "image files, or texts for a run that classifies texts (default: standard input, "
    "one per line)",
    metavar="INPUT",
  )
  parser.add_argument(
    "--top", type=int, default=1, metavar="N",
    help="print the N most probable classes (default 1)",
  )  # fmt: skip
  flags.add_json(parser, " per input")
  flags.add_mesh(parser)
  flags.add_step(parser)


def run(arguments) -> int:
  """Classify images or texts.

  Prints a line per input: the input, then class and probability, separated by tabs; of
  a blank line, which has no class, the line alone. A tab in an input or in the name of
  a class is printed as a space. An input that cannot be read is an error line and exit
  status 1, after all the others are classified.
  """
  from transformer.runs.classifier import Classifier
  from transformer.tasks.classification import Prediction, Unreadable

  configs.check_at_least("--top", arguments.top, 1)
  failures = 0
  with contextlib.ExitStack() as stack:
    items = input_items(stack, arguments.texts)
    output = stack.enter_context(Output(None))
    classifier = Classifier.open(
      arguments.run_path, arguments.step, flags.devices_from(arguments)
    )
    for chunk in chunks(enumerate(items, start=1), chunk_size(arguments.texts)):
      texts = [item for _, item in chunk if isinstance(item, str)]
      results = classifier.classify([text for text in texts if not is_blank(text)])
      for number, item in chunk:
        result: Prediction | Unreadable
        if isinstance(item, ValueError):
          result = Unreadable("", str(item))
        else:
          result = Prediction(item, (), ()) if is_blank(item) else next(results)
        if isinstance(result, Prediction):
          output.write_lines([format_result(result, arguments.top, arguments.json)])
          continue
        failures += 1
        print(f"error: input {number:,}: {result.reason}", file=sys.stderr)
  return int(failures > 0)


def format_result(prediction, top: int, as_object: bool) -> str:
  """The line of one input."""
  pairs = zip(prediction.classes, prediction.probabilities, strict=True)
  best = list(pairs)[:top]
  if as_object:
    classes = [{"class": name, "probability": p} for name, p in best]
    return as_json({"input": prediction.name, "classes": classes})
  cells = itertools.chain.from_iterable((name, f"{p:.4f}") for name, p in best)
  return "\t".join(cell.replace("\t", " ") for cell in (prediction.name, *cells))
