"""`export`: a run as one file that needs nothing but JAX."""

import itertools
import os
from pathlib import Path

from transformer.cli import flags
from transformer.cli.lines import line_chunks, source_stream


def export_flags(new: flags.Verb) -> None:
  """Where to, and what to try it on."""
  new.add_argument("--output", type=Path, required=True, help="the file to write")
  new.add_argument("--n-best", type=int, default=1, metavar="N",
                   help="outputs a sentence (default 1)")  # fmt: skip
  new.add_argument(
    "--input", type=Path,
    help="texts to try the file on, one a line (default: held-out text of the run)",
  )  # fmt: skip
  new.add_argument("--samples", type=int, default=20, metavar="N",
                   help="how many of them (default 20)")  # fmt: skip


def export(arguments) -> None:
  """Writes the whole search, tokens in and tokens out, as one StableHLO file.

  The parameters are in it. It runs on CPU, CUDA and TPU, for any number of sentences of
  any length. Samples are decoded from the file and by the run, and must be the same.
  """
  from transformer.inference.export import decode, export_search
  from transformer.inference.search import Searcher
  from transformer.runs.run import Run

  run = Run.open(arguments.run)
  search = flags.search_of(arguments, arguments.n_best)
  sources = run.tokenizer.encode(samples(arguments, run))
  if not sources:
    raise ValueError("no text to try the file on; give --input")
  if arguments.output.exists():
    raise ValueError(f"{arguments.output}: already exists")
  params = run.params(arguments.step, arguments.weights == "int8")
  searcher = Searcher(run.module(), params, search)
  artifact = export_search(searcher)
  scratch = arguments.output.with_name(f".{arguments.output.name}.{os.getpid()}")
  try:
    try:
      scratch.write_bytes(artifact)
    except OSError as error:
      raise OSError(
        f"{arguments.output}: cannot be written ({error.strerror})"
      ) from None
    wanted = dict(searcher.outputs(sources))
    for i, found in enumerate(decode(scratch.read_bytes(), sources)):
      if found.tolist() != [token for token in wanted[i].tolist() if token]:
        raise ValueError(
          f"{arguments.output}: not kept: sample {i + 1} of {len(sources)} is decoded "
          "otherwise than by the run"
        )
    os.replace(scratch, arguments.output)
  finally:
    scratch.unlink(missing_ok=True)
  print(
    f"{arguments.output}: {len(artifact):,} bytes; {len(sources)} samples are decoded "
    "from it as by the run"
  )


def samples(arguments, run) -> list[str]:
  """The texts to try the file on."""
  if arguments.samples < 1:
    raise ValueError(f"--samples: {arguments.samples} is less than 1")
  if arguments.input is None:
    try:
      pairs = run.config.data.open("val")
    except (OSError, ValueError) as error:
      raise ValueError(
        f"{error}; to try the file on other text, give --input"
      ) from None
    return [pairs[i].source for i in range(min(arguments.samples, len(pairs)))]
  with source_stream(arguments.input) as stream:
    lines = itertools.chain.from_iterable(line_chunks(stream, str(arguments.input)))
    return list(itertools.islice(lines, arguments.samples))
