"""`translate` and `score`: texts in, lines out, in order."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from transformer.cli import flags
from transformer.cli.lines import (
  CHUNK,
  Output,
  as_json,
  count_lines,
  line_chunks,
  progress_bar,
  source_stream,
)


def translate_flags(new: flags.Verb) -> None:
  """What goes in, and how it comes out."""
  new.add_argument("texts", metavar="TEXT", nargs="*", help="default: standard input")
  new.add_argument("--input", type=Path, help="a file, one text a line")
  new.add_argument(
    "--output", type=Path,
    help="appears once it is whole; until then its lines are in OUTPUT.part",
  )  # fmt: skip
  new.add_argument(
    "--n-best", type=int, metavar="N",
    help="up to N outputs a text, none nearly the same as another, each on a line "
    "after the number of its text and a tab",
  )  # fmt: skip
  new.add_argument(
    "--scores", action="store_true",
    help="each output after its score (log-probability under the penalty) and a tab",
  )  # fmt: skip
  new.add_argument(
    "--json", action="store_true",
    help="an object a text: source, hypotheses with text, score, logprob, tokens and "
    "token_logprobs",
  )  # fmt: skip
  new.add_argument(
    "--stream", action="store_true",
    help="text by text, each token as soon as it is known; greedy, or with --sample",
  )  # fmt: skip
  new.add_argument(
    "--prefix", default="", metavar="TEXT", help="what every output begins with"
  )


def translate(arguments) -> None:
  """Translates texts, a file or standard input, line by line, in order."""
  if arguments.texts and arguments.input:
    raise ValueError("give texts or --input, not both")
  if arguments.stream and (
    arguments.n_best or arguments.mbr or arguments.scores or arguments.json
  ):
    raise ValueError(
      "--stream shows outputs before they are whole; it does not go with --n-best, "
      "--mbr, --scores or --json"
    )
  search = flags.search_of(arguments, arguments.n_best, arguments.stream)
  with contextlib.ExitStack() as stack:
    chunks = chunks_of(arguments, stack)
    translator = flags.translator_of(arguments, search)
    out = stack.enter_context(Output(arguments.output))
    if arguments.stream:
      for texts in chunks:
        for text in texts:
          for piece in translator.stream(text, arguments.prefix, arguments.seed):
            out.put(piece.replace("\n", " "))
          out.put("\n")
      return
    # No bar where the outputs themselves are shown.
    shown = arguments.output is None and sys.stdout.isatty()
    total = count_lines(arguments.input)
    bar = stack.enter_context(progress_bar(shown or bool(arguments.texts), total))
    before = 0
    for texts in chunks:
      found = translator.hypotheses(
        texts,
        bar.update,
        prefixes=[arguments.prefix] * len(texts) if arguments.prefix else None,
        seed=arguments.seed,
      )
      for i, (text, hypotheses) in enumerate(zip(texts, found, strict=True), 1):
        out.write(rows(arguments, before + i, text, hypotheses))
      before += len(texts)
      # Each shape of a batch is a program of its own.
      bar.set_postfix_str(f"{translator.searcher.compilations} programs compiled")


def chunks_of(arguments, stack: contextlib.ExitStack) -> Iterator[list[str]]:
  """What to translate, so many texts at a time as are worth waiting for."""
  if arguments.texts:
    given = arguments.texts
    return iter([[text] for text in given] if arguments.stream else [given])
  typed = arguments.input is None and sys.stdin.isatty()
  stream = stack.enter_context(source_stream(arguments.input))
  name = str(arguments.input or "standard input")
  return line_chunks(stream, name, 1 if arguments.stream or typed else CHUNK)


def rows(arguments, number: int, source: str, hypotheses: list) -> list[str]:
  """The lines for text number `number`, from 1."""
  from transformer.decoding.rerank import mbr

  if arguments.mbr and hypotheses:
    hypotheses = [hypotheses[mbr([each.text for each in hypotheses])]]
  if arguments.json:
    return [
      as_json({"source": source, "hypotheses": [h._asdict() for h in hypotheses]})
    ]
  lines = []
  for hypothesis in hypotheses or [None]:
    row = [str(number)] if arguments.n_best else []
    if arguments.scores:
      row.append(f"{hypothesis.score:.6f}" if hypothesis else "")
    lines.append("\t".join([*row, hypothesis.text if hypothesis else ""]))
  return lines


def score_flags(new: flags.Verb) -> None:
  """Texts and their translations."""
  for name, what in (("--source", "texts"), ("--reference", "their translations")):
    new.add_argument(name, type=Path, required=True, help=f"{what}, one a line")
  new.add_argument("--output", type=Path, help="appears once it is whole")
  new.add_argument(
    "--json", action="store_true",
    help="an object a line: source, text, score, logprob, tokens, token_logprobs",
  )  # fmt: skip


def score(arguments) -> None:
  """Tells how probable given translations are.

  A line for each: score (log-probability under the length penalty), log-probability in
  nats and number of tokens, EOS counted, with tabs between them.
  """
  from transformer.inference.search import Search

  paths = arguments.source, arguments.reference
  totals = [count_lines(path) for path in paths]
  if None not in totals and totals[0] != totals[1]:
    raise ValueError(
      f"{paths[0]}: {totals[0]:,} lines, {paths[1]}: {totals[1]:,}; each text needs "
      "one translation"
    )
  with contextlib.ExitStack() as stack:
    sides = [
      line_chunks(stack.enter_context(source_stream(path)), str(path))
      for path in paths
    ]  # fmt: skip
    search = Search(penalty=flags.penalty_of(arguments))
    translator = flags.translator_of(arguments, search)
    out = stack.enter_context(Output(arguments.output))
    shown = arguments.output is None and sys.stdout.isatty()
    bar = stack.enter_context(progress_bar(shown, totals[0]))
    for sources, references in zip(*sides, strict=True):
      found = translator.score(sources, references, bar.update)
      if arguments.json:
        pairs = zip(sources, found, strict=True)
        out.write(as_json({"source": s, **h._asdict()}) for s, h in pairs)
      else:
        out.write(f"{h.score:.6f}\t{h.logprob:.6f}\t{len(h.tokens)}" for h in found)
