"""`transformer embed`: a vector for each text, by the run's encoder."""

import argparse
import contextlib
import io
import sys
from pathlib import Path

from transformer.cli import flags
from transformer.cli.lines import (
  Output,
  add_input,
  add_output,
  add_texts,
  as_json,
  count_lines,
  input_chunks,
  progress_bar,
)
from transformer.runs.output import OutputFile


def add_arguments(parser: flags.VerbParser) -> None:
  """Texts in, and what comes out."""
  flags.add_run(parser)
  add_texts(parser, "texts to embed (default: standard input, one per line)")
  add_input(parser)
  add_output(
    parser,
    ": JSON lines, or for a name that ends in .npz an array `vectors` [n, d] in "
    "float32, which is held in memory until then",
  )
  parser.add_argument(
    "--pooling", choices=("mean", "first"),
    help="the mean over the tokens of a text, special ones included, or the vector of "
    "the first token (default: what the run says, else mean)",
  )  # fmt: skip
  parser.add_argument(
    "--normalise", action=argparse.BooleanOptionalAction, default=None,
    help="divide vectors by their lengths (default: what the run says, else not)",
  )  # fmt: skip
  flags.add_step(parser)


def run(arguments) -> None:
  """Embed texts: print a JSON object per text, with the text and its vector.

  The vector is made of the output of the encoder: BERT's, or a translation model's. A
  run says how if its task is SentenceEmbedding. The vector of a text does not depend on
  the other texts.
  """
  from transformer.layers.pooling import FirstToken, Pooling
  from transformer.runs.embedder import Embedder

  poolings = {"mean": Pooling(), "first": FirstToken(), None: None}
  as_arrays = arguments.output is not None and arguments.output.suffix == ".npz"
  with contextlib.ExitStack() as stack:
    chunks = input_chunks(stack, arguments.texts, arguments.input)
    embedder = Embedder.open(
      arguments.run_path, arguments.step, poolings[arguments.pooling],
      arguments.normalise,
    )  # fmt: skip
    if as_arrays:
      write_arrays(arguments.output, embedder, chunks, arguments.input)
    else:
      output = stack.enter_context(Output(arguments.output))
      quiet = output.is_terminal or bool(arguments.texts)
      bar = stack.enter_context(progress_bar(count_lines(arguments.input), quiet))
      for texts in chunks:
        vectors_nd = embedder.embed(texts, bar.update)
        output.write_lines(map(format_vector, texts, vectors_nd))
  if embedder.num_cut:
    print(
      f"{embedder.num_cut:,} texts longer than {embedder.context:,} tokens were cut",
      file=sys.stderr,
    )


def format_vector(text: str, vector_d) -> str:
  """A text and its vector as a JSON object, with as many digits as float32 has."""
  return as_json({"text": text, "vector": [float(x) for x in vector_d.astype(str)]})


def write_arrays(path: Path, embedder, chunks, source: Path | None) -> None:
  """Writes the vectors of all texts into an `.npz` file."""
  import numpy as np

  output, data = OutputFile(path), io.BytesIO()
  with progress_bar(count_lines(source)) as bar:
    vectors = [embedder.embed(texts, bar.update) for texts in chunks]
  empty_nd = np.zeros((0, embedder.module.c.d_model), np.float32)
  np.savez(data, vectors=np.concatenate([empty_nd, *vectors]))
  output.write(data.getvalue())
