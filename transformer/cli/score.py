"""`transformer score`: the log-probability of given translations."""

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path

from transformer.cli import flags, lines
from transformer.cli.lines import (
  Output,
  as_json,
  chunks,
  count_lines,
  progress_bar,
  text_of,
)
from transformer.data.text import decode_lines, open_text


def add_arguments(parser: flags.VerbParser) -> None:
  """Texts and their translations."""
  flags.add_run(parser)
  parser.add_argument(
    "--source", type=Path, required=True, metavar="FILE", help="texts, one per line"
  )
  parser.add_argument(
    "--reference", type=Path, required=True, metavar="FILE",
    help="their translations, one per line",
  )  # fmt: skip
  lines.add_output(parser)
  flags.add_json(
    parser, " per line: source, text, score, logprob, tokens, token_logprobs"
  )
  parser.add_argument(
    "--header", action="store_true", help="print the names of the columns first"
  )
  flags.add_penalty(parser)
  flags.add_batch_size(parser)
  flags.add_weights(parser)
  flags.add_mesh(parser)
  flags.add_languages(parser)
  flags.add_step(parser)


def run(arguments) -> None:
  """Score given translations by their log-probability under the model.

  Prints a line per translation: its score (the log-probability under the length
  penalty), its log-probability in nats and its number of tokens, EOS included,
  separated by tabs.
  """
  from transformer.inference.search import Search

  if arguments.header and arguments.json:
    raise ValueError("--header names columns; it cannot be combined with --json")
  paths = arguments.source, arguments.reference
  totals = [count_lines(path) for path in paths]
  if None not in totals and totals[0] != totals[1]:
    raise ValueError(
      f"{paths[0]}: {totals[0]:,} lines, {paths[1]}: {totals[1]:,}; each text needs "
      "one translation"
    )
  with contextlib.ExitStack() as stack:
    output = stack.enter_context(Output(arguments.output))
    pairs = read_pairs(stack, *paths)
    search = Search(
      penalty=flags.penalty_from(arguments, flags.decoding_of(arguments).penalty)
    )
    translator = flags.translator_from(arguments, search)
    bar = stack.enter_context(progress_bar(totals[0], output.is_terminal))
    if arguments.header:
      output.write_lines(["score\tlogprob\ttokens"])
    for chunk in chunks(pairs, lines.CHUNK_LINES):
      sources, references = map(list, zip(*chunk, strict=True))
      hypotheses = translator.score(sources, references, bar.update)
      if arguments.json:
        scored = zip(sources, hypotheses, strict=True)
        output.write_lines(as_json({"source": s, **h._asdict()}) for s, h in scored)
      else:
        output.write_lines(
          f"{h.score:.6f}\t{h.logprob:.6f}\t{len(h.tokens)}" for h in hypotheses
        )


def read_pairs(
  stack: contextlib.ExitStack, source: Path, reference: Path
) -> Iterator[tuple[str, str]]:
  """The lines of two files side by side.

  Raises:
    ValueError: one has more lines than the other, or a line is not UTF-8.
  """
  sides = [
    map(text_of, decode_lines(stack.enter_context(open_text(path)), str(path)))
    for path in (source, reference)
  ]
  for number, (text, translation) in enumerate(itertools.zip_longest(*sides)):
    if text is None or translation is None:
      shorter = source if text is None else reference
      raise ValueError(
        f"{shorter}: {number:,} lines, fewer than the other side; each text needs one "
        "translation"
      )
    yield text, translation
