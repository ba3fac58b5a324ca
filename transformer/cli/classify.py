"""`transformer classify`: the class of an image or a text."""

import itertools

from transformer import config as configs
from transformer.cli import flags
from transformer.cli.lines import as_json, line_chunks, open_input


def add_arguments(parser: flags.VerbParser) -> None:
  """The inputs, and how many classes are printed."""
  flags.add_run(parser)
  parser.add_argument(
    "texts", metavar="INPUT", nargs="*",
    help="image files, or texts for a run that classifies texts (default: standard "
    "input, one per line)",
  )  # fmt: skip
  parser.add_argument(
    "--top", type=int, default=1, metavar="N",
    help="print the N most probable classes (default 1)",
  )  # fmt: skip
  parser.add_argument(
    "--json", action="store_true", help="print one JSON object per input"
  )
  flags.add_mesh(parser)
  flags.add_step(parser)


def run(arguments) -> None:
  """Classify images or texts.

  Prints a line per input: the input, then class and probability, separated by tabs.
  """
  from transformer.runs.classifier import Classifier

  configs.check_at_least("--top", arguments.top, 1)
  classifier = Classifier.open(
    arguments.run_path, arguments.step, flags.devices_from(arguments)
  )
  with open_input(None) as stream:
    chunks = [arguments.texts] if arguments.texts else line_chunks(stream, "stdin")
    for answer in itertools.chain.from_iterable(map(classifier.classify, chunks)):
      pairs = zip(answer.classes, answer.probabilities, strict=True)
      top = list(pairs)[: arguments.top]
      if arguments.json:
        classes = [{"class": name, "probability": p} for name, p in top]
        print(as_json({"input": answer.name, "classes": classes}), flush=True)
      else:
        cells = itertools.chain.from_iterable((name, f"{p:.4f}") for name, p in top)
        print(answer.name, *cells, sep="\t", flush=True)
