"""`classify`: what an image, or a text, is."""

import itertools

from transformer.cli import flags
from transformer.cli.lines import as_json, line_chunks, source_stream


def classify_flags(new: flags.Verb) -> None:
  """What goes in, and how much is told of it."""
  new.add_argument(
    "texts", metavar="INPUT", nargs="*",
    help="image files, or texts where the run reads texts; default: standard input, "
    "one a line",
  )  # fmt: skip
  new.add_argument(
    "--top", type=int, default=1, metavar="N",
    help="the N likeliest classes (default 1)",
  )  # fmt: skip
  new.add_argument(
    "--json", action="store_true", help="one JSON object for every input"
  )


def classify(arguments) -> None:
  """Tells what images, or texts, are: input, class and probability on a line."""
  from transformer.runs.classifier import Classifier

  if arguments.top < 1:
    raise ValueError(f"--top: {arguments.top} is less than 1")
  classifier = Classifier.open(arguments.run, arguments.step)
  with source_stream(None) as stream:
    given = [arguments.texts] if arguments.texts else line_chunks(stream, "stdin")
    for answer in itertools.chain.from_iterable(map(classifier.classify, given)):
      pairs = zip(answer.classes, answer.probabilities, strict=True)
      found = list(pairs)[: arguments.top]
      if arguments.json:
        record = [{"class": name, "probability": share} for name, share in found]
        print(as_json({"input": answer.name, "classes": record}), flush=True)
      else:
        cells = itertools.chain.from_iterable((name, f"{p:.4f}") for name, p in found)
        print(answer.name, *cells, sep="\t", flush=True)
