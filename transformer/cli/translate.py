"""`transformer translate`: texts in, lines out, in order."""

import contextlib
import itertools
import sys

from transformer.cli import flags
from transformer.cli.lines import (
  Output,
  add_input,
  add_output,
  add_texts,
  as_json,
  chunks,
  count_lines,
  input_chunks,
  input_items,
  progress_bar,
  text_of,
)
from transformer.cli.shards import Shard, ShardOutput

SHARD_LINES = 1024
"""Lines of a part between two writes: what a stopped job loses at most."""


def add_arguments(parser: flags.VerbParser) -> None:
  """Texts in, and what comes out."""
  flags.add_run(parser)
  add_texts(parser, "texts to translate (default: standard input, one per line)")
  add_input(parser)
  add_output(parser, "; until then its lines are in FILE.part")
  parser.add_argument(
    "--n-best", type=int, metavar="N",
    help="print up to N translations per text, no two of them nearly the same, each "
    "after the number of its text and a tab",
  )  # fmt: skip
  parser.add_argument(
    "--scores", action="store_true",
    help="print the score (log-probability under the length penalty) and a tab before "
    "each translation",
  )  # fmt: skip
  flags.add_json(
    parser,
    " per text: source, and hypotheses with text, score, logprob, tokens and "
    "token_logprobs",
  )
  parser.add_argument(
    "--stream", action="store_true",
    help="translate text by text and print each token as soon as it is known; greedy, "
    "or with --sample",
  )  # fmt: skip
  parser.add_argument(
    "--prefix", default="", metavar="TEXT", help="force translations to begin with this"
  )
  parser.add_argument(
    "--shard", metavar="I/N",
    help="translate part I of N of --input, for the jobs of an array, into "
    "OUTPUT.I-of-N; the same command resumes a part that was stopped, and all "
    "parts one after another are the whole",
  )  # fmt: skip
  flags.add_search(parser)
  flags.add_sampling(parser)
  flags.add_batch_size(parser)
  flags.add_weights(parser)
  flags.add_mesh(parser)
  flags.add_languages(parser)
  flags.add_step(parser)


def run(arguments) -> None:
  """Translate texts, a file or standard input, line by line and in order."""
  if arguments.stream and (
    arguments.n_best or arguments.mbr or arguments.scores or arguments.json
  ):
    raise ValueError(
      "--stream prints translations before they are complete; it cannot be combined "
      "with --n-best, --mbr, --scores or --json"
    )
  search = flags.search_from(arguments, arguments.n_best, arguments.stream)
  if arguments.shard is not None:
    translate_shard(arguments, search)
    return
  with contextlib.ExitStack() as stack:
    parts = input_chunks(stack, arguments.texts, arguments.input, arguments.stream)
    output = stack.enter_context(Output(arguments.output))
    translator = flags.translator_from(arguments, search)
    if arguments.stream:
      for texts in parts:
        for text in texts:
          for piece in translator.stream(text, arguments.prefix, arguments.seed or 0):
            output.write_text(piece.replace("\n", " "))
          output.write_text("\n")
      return
    # No progress bar among translations on the same terminal.
    quiet = output.is_terminal or bool(arguments.texts)
    bar = stack.enter_context(progress_bar(count_lines(arguments.input), quiet))
    number = 1
    for texts in parts:
      output.write_lines(translate_chunk(arguments, translator, number, texts, bar))
      number += len(texts)


def translate_chunk(arguments, translator, number: int, texts, bar) -> list[str]:
  """The output lines of texts, the first of which has this number."""
  results = translator.hypotheses(
    texts,
    bar.update,
    prefixes=[arguments.prefix] * len(texts) if arguments.prefix else None,
    seed=arguments.seed or 0,
  )
  # Each batch shape is compiled on its own.
  bar.set_postfix_str(f"{translator.searcher.compilations} programs compiled")
  return [
    line
    for i, (text, hypotheses) in enumerate(zip(texts, results, strict=True))
    for line in format_result(arguments, number + i, text, hypotheses)
  ]


def translate_shard(arguments, search) -> None:
  """Translates a part of a file, or what is left of it."""
  from transformer import config as configs
  from transformer.data.sources.parallel_text import digest

  shard = Shard.parse(arguments.shard)
  unfit = arguments.texts or arguments.n_best or arguments.stream
  if arguments.input is None or arguments.output is None or unfit:
    raise ValueError(
      "--shard: give --input and --output, and no texts, --n-best or --stream"
    )
  total = count_lines(arguments.input)
  if total is None:
    raise ValueError(f"--shard: {arguments.input} is not a file that can be read twice")
  translator = flags.translator_from(arguments, search)
  run, lines = translator.run, shard.lines(total)
  command = {
    "config": configs.digest(run.config),
    "tokenizer": run.vocabulary.sha256,
    "step": translator.step,
    # An average of checkpoints has the config and the step of the newest.
    "parameters": run.note(translator.step)["checksums"]["params"],
    "input": digest(arguments.input),
    "search": configs.dump(translator.searcher.search),
    "seed": arguments.seed or 0,
    **{name: getattr(arguments, name)
       for name in ("weights", "prefix", "mbr", "scores", "json")},
  }  # fmt: skip
  output = ShardOutput(shard, arguments.output, command, len(lines))
  if output.is_complete:
    print(f"{output.path}: complete already; delete it to begin again", file=sys.stderr)
    return
  with contextlib.ExitStack() as stack:
    texts = map(text_of, input_items(stack, [], arguments.input))
    stack.enter_context(output)
    bar = stack.enter_context(progress_bar(len(lines)))
    bar.update(output.done)
    rest = itertools.islice(texts, lines.start + output.done, lines.stop)
    number = lines.start + output.done + 1
    for part in chunks(rest, SHARD_LINES):
      output.write_lines(translate_chunk(arguments, translator, number, part, bar))
      number += len(part)


def format_result(arguments, number: int, source: str, hypotheses: list) -> list[str]:
  """The output lines for text number `number`, from 1."""
  from transformer.decoding.rerank import mbr

  if arguments.mbr and hypotheses:
    hypotheses = [hypotheses[mbr([each.text for each in hypotheses])]]
  if arguments.json:
    return [
      as_json({"source": source, "hypotheses": [h._asdict() for h in hypotheses]})
    ]
  lines = []
  for hypothesis in hypotheses or [None]:
    cells = [str(number)] if arguments.n_best else []
    if arguments.scores:
      cells.append(f"{hypothesis.score:.6f}" if hypothesis else "")
    lines.append("\t".join([*cells, hypothesis.text if hypothesis else ""]))
  return lines
