"""`transformer export`: a run as one file that needs nothing but JAX."""

import itertools
import sys
from pathlib import Path

from transformer import config as configs
from transformer.cli import flags
from transformer.cli.lines import line_chunks
from transformer.data.text import is_blank, open_text
from transformer.runs.output import OutputFile, open_descriptor


def add_arguments(parser: flags.VerbParser) -> None:
  """The file, and the texts that it is checked on."""
  flags.add_run(parser)
  parser.add_argument(
    "--output", type=Path, required=True, metavar="FILE", help="file to write"
  )
  parser.add_argument(
    "--n-best", type=int, default=1, metavar="N",
    help="outputs per sentence (default 1)",
  )  # fmt: skip
  parser.add_argument(
    "--input", type=Path, metavar="FILE",
    help="texts to check the file on, one per line (default: held-out text of the run)",
  )  # fmt: skip
  parser.add_argument(
    "--samples", type=int, default=20, metavar="N",
    help="number of texts to check (default 20)",
  )  # fmt: skip
  flags.add_search(parser)
  flags.add_weights(parser)
  flags.add_languages(parser)
  flags.add_step(parser)


def run(arguments) -> None:
  """Export the whole search, tokens in and tokens out, as one StableHLO file.

  The file includes the parameters. It runs on CPU, CUDA and TPU, for any number of
  sentences of any length. Before it is kept, samples are decoded from the file and by
  the run, and must agree.
  """
  from transformer.inference.devices import Devices
  from transformer.inference.export import decode, export_search
  from transformer.runs.translator import Translator

  output = OutputFile(arguments.output)
  if output.is_replaced:
    raise ValueError(f"{arguments.output}: already exists")
  translator = Translator.open(
    arguments.run_path,
    flags.search_from(arguments, arguments.n_best),
    arguments.step,
    int8=arguments.weights == "int8",
    devices=Devices(),
    source_language=arguments.source_language,
    target_language=arguments.target_language,
  )
  run, searcher = translator.run, translator.searcher
  sources = run.tokenizer.encode_sources(sample_texts(arguments, run))
  if not sources:
    raise ValueError("there is no text to check the file on; give --input")
  artifact = export_search(searcher)
  expected = dict(searcher.outputs(sources))
  for i, decoded in enumerate(decode(artifact, sources)):
    if decoded.tolist() != [token for token in expected[i].tolist() if token]:
      raise ValueError(
        f"{arguments.output}: not written: sample {i + 1} of {len(sources)} is decoded "
        "differently from the file and by the run"
      )
  output.write(artifact)
  print(
    f"{arguments.output}: {len(artifact):,} bytes; {len(sources)} samples decoded from "
    "it agree with the run",
    file=sys.stderr if open_descriptor(arguments.output) == 1 else None,
  )


def sample_texts(arguments, run) -> list[str]:
  """The texts to check the file on."""
  configs.check_at_least("--samples", arguments.samples, 1)
  if arguments.input is None:
    try:
      pairs = run.config.data.open("val")
    except (OSError, ValueError) as error:
      raise ValueError(
        f"{error}; to check the file on other text, give --input"
      ) from None
    return [pairs[i].source for i in range(min(arguments.samples, len(pairs)))]
  with open_text(arguments.input) as stream:
    lines = itertools.chain.from_iterable(line_chunks(stream, str(arguments.input)))
    visible = (line for line in lines if not is_blank(line))
    return list(itertools.islice(visible, arguments.samples))
