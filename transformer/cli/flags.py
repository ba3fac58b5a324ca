"""Flags that several verbs share, and the objects that they describe.

Nothing of JAX is imported before a verb runs, so that `--help` is quick.
"""

import argparse
import dataclasses
import importlib
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformer import config as configs


class VerbParser(argparse.ArgumentParser):
  """The parser of one verb; its help ends in the recipes that its flags take."""

  def __init__(self, *arguments, **settings):
    settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
    super().__init__(*arguments, **settings)
    self._families: list[tuple[str, str, str]] = []

  def add_recipe_argument(self, flag: str, family: str, text: str, **settings) -> None:
    """A flag that takes a member of a recipe family, named `module:Class`."""
    self.add_argument(flag, metavar="RECIPE", help=f"{text}; see below", **settings)
    self._families.append((flag, family, text))

  def format_help(self) -> str:
    text = super().format_help()
    for flag, family, what in self._families:
      lines = [f"{flag} RECIPE: {what}", *describe_members(import_class(family))]
      text += "\n" + "".join(
        textwrap.fill(line, 78, initial_indent="  " * bool(i), subsequent_indent="    ")
        + "\n"
        for i, line in enumerate(lines)
      )
    return text


def import_class(name: str) -> type:
  """The class that `module:Class` names."""
  module, _, attribute = name.partition(":")
  return getattr(importlib.import_module(f"transformer.{module}"), attribute)


def describe_members(family: type) -> Iterator[str]:
  """A line for every member of a recipe family: how to write it, and what it does."""
  for name, member in configs.members(family).items():
    fields: list[Any] = [f for f in dataclasses.fields(member) if f.init]
    values = ", ".join(f"{field.name}={field.default!r}" for field in fields)
    summary = (member.__doc__ or "").split("\n\n")[0]
    yield f"{name}({values}): {' '.join(summary.split())}"


class ImportFile(argparse.Action):
  """Runs a Python file as soon as its flag is read, so that the recipes which it
  defines are known to the flags after it and to `--help`."""

  def __call__(self, parser, namespace, values, option_string=None):
    from transformer import experiment

    experiment.import_file(values)


def add_import(parser: argparse.ArgumentParser) -> None:
  """Python files of the user's own, before the verb or after it."""
  parser.add_argument(
    "--import", action=ImportFile, type=Path, metavar="FILE", dest=argparse.SUPPRESS,
    help="run this Python file first, so that a run may use the recipes that it "
    "defines; can be repeated",
  )  # fmt: skip


def add_run(parser: argparse.ArgumentParser) -> None:
  """The run to use."""
  parser.add_argument("run_path", metavar="RUN", type=Path, help="directory of the run")


def add_step(parser: argparse.ArgumentParser) -> None:
  """The checkpoint to use."""
  parser.add_argument(
    "--step", type=int, metavar="N", help="checkpoint to use (default: the newest)"
  )


def add_json(parser: argparse.ArgumentParser) -> None:
  """Output for programs."""
  parser.add_argument("--json", action="store_true", help="print one JSON object")


def add_penalty(parser: VerbParser) -> None:
  """How outputs of different lengths are compared."""
  parser.add_argument(
    "--alpha", type=float, metavar="A", help="short for --penalty 'GNMT(A)'"
  )
  parser.add_recipe_argument(
    "--penalty",
    "decoding.penalty:LengthPenalty",
    "length penalty: what divides the log-probability of n tokens (EOS included), and "
    "what is added to it (default GNMT(0.6))",
  )


def add_search(parser: VerbParser) -> None:
  """How outputs are searched for."""
  parser.add_argument(
    "--beam", type=int, metavar="N",
    help="beam size; 1 is greedy search (default 4; with --sample 1)",
  )  # fmt: skip
  add_penalty(parser)
  parser.add_argument(
    "--extra", type=int, default=50, metavar="N",
    help="limit outputs to the source length plus N tokens (default 50)",
  )  # fmt: skip
  parser.add_argument(
    "--max-length", type=int, metavar="N",
    help="limit outputs to N tokens, whatever the source length",
  )  # fmt: skip
  parser.add_argument(
    "--min-length", type=int, default=0, metavar="N",
    help="shortest output in tokens (default 0)",
  )  # fmt: skip
  parser.add_argument(
    "--suppress", action="append", default=[], metavar="PIECE",
    help="vocabulary piece that outputs must not contain, such as ▁der; can be "
    "repeated",
  )  # fmt: skip


def add_sampling(parser: VerbParser) -> None:
  """Random outputs, and the choice among many."""
  parser.add_recipe_argument(
    "--sample", "decoding.sample:Sampler", "sample outputs instead of searching"
  )
  parser.add_argument(
    "--seed", type=int, default=0, metavar="N",
    help="random seed of --sample; a sentence's samples depend on it and on the "
    "sentence alone (default 0)",
  )  # fmt: skip
  parser.add_argument(
    "--mbr", type=int, metavar="N",
    help="search for or sample N outputs and keep the one most similar to the others "
    "(minimum Bayes risk with chrF)",
  )  # fmt: skip


def add_batch_size(parser: argparse.ArgumentParser) -> None:
  """The size of decoding batches."""
  parser.add_argument(
    "--batch-size", type=int, default=4096, metavar="N",
    help="source tokens x beam size per batch; affects speed only (default 4096)",
  )  # fmt: skip


def add_weights(parser: argparse.ArgumentParser) -> None:
  """The type of the weights."""
  parser.add_argument(
    "--weights", choices=("float32", "int8"), default="float32",
    help="int8 rounds weight matrices to 8 bits, with one scale per channel, when they "
    "are loaded: faster, and slightly different outputs (default float32)",
  )  # fmt: skip


def add_output_format(
  parser: argparse.ArgumentParser, formats: tuple[str, ...], name: str
) -> None:
  """A file to write, and its format."""
  parser.add_argument(
    "--output", type=Path, metavar="FILE",
    help=f"the file to write (default {name}.{formats[0]}); its ending is the format",
  )  # fmt: skip
  parser.add_argument(
    "--format", choices=formats, help=f"the format (default {formats[0]})"
  )


def output_format_from(
  arguments, formats: tuple[str, ...], name: str
) -> tuple[Path, str]:
  """The file and the format that the flags of `add_output_format` describe."""
  output, kind = arguments.output, arguments.format
  if kind is None:
    kind = output.suffix[1:] if output else formats[0]
  if kind not in formats:
    raise ValueError(
      f"--output: expected a name that ends in {', '.join(f'.{x}' for x in formats)}, "
      f"got {output}; rename it or give --format"
    )
  output = output or Path(f"{name}.{kind}")
  if not output.parent.is_dir():
    raise FileNotFoundError(f"{output}: cannot be written (no folder {output.parent})")
  return output, kind


def write_output(output: Path, data: bytes) -> None:
  """Writes the file of `output_format_from`, whole or not at all, and prints it."""
  from transformer.runs.directory import write_atomic

  try:
    write_atomic(output, data)
  except OSError as error:
    raise OSError(f"{output}: cannot be written ({error.strerror})") from None
  print(output)


def penalty_from(arguments):
  """The length penalty that the flags of `add_penalty` describe."""
  from transformer.decoding.penalty import GNMT, LengthPenalty

  if arguments.penalty is None:
    return GNMT() if arguments.alpha is None else GNMT(arguments.alpha)
  if arguments.alpha is not None:
    raise ValueError("give --alpha or --penalty, not both")
  return configs.parse(arguments.penalty, LengthPenalty, "--penalty")


def search_from(arguments, n_best: int | None = None, stream: bool = False):
  """The search that the flags of `add_search`, and of `add_sampling` where a verb has
  them, describe."""
  from transformer.decoding.sample import Sampler
  from transformer.inference.search import Search
  from transformer.runs.run import Run

  mbr, sample = getattr(arguments, "mbr", None), getattr(arguments, "sample", None)
  if mbr is not None and n_best is not None:
    raise ValueError("give --mbr or --n-best, not both")
  sampler, beam = Sampler(), arguments.beam
  if sample is not None:
    sampler = configs.parse(sample, Sampler, "--sample")
  if beam is None:
    beam = 1 if stream or sample is not None else 4
  for flag, value, minimum in (
    ("--beam", beam, 1),
    ("--mbr", mbr, 1),
    ("--n-best", n_best, 1),
    ("--extra", arguments.extra, 0),
    ("--min-length", arguments.min_length, 0),
    ("--max-length", arguments.max_length, max(1, arguments.min_length)),
  ):
    if value is not None:
      configs.check_at_least(flag, value, minimum)
  outputs = next(n for n in (mbr, n_best, 1) if n is not None)
  draws = type(sampler) is not Sampler
  if outputs > beam and not draws:
    flag = "--n-best" if mbr is None else "--mbr"
    raise ValueError(
      f"{flag} {outputs}: expected at most the beam size, {beam}; give --beam {outputs}"
    )
  if draws and beam > 1:
    raise ValueError(f"--beam {beam}: --sample needs a beam of 1; leave --beam out")
  suppressed: list[int] = []
  if arguments.suppress:
    tokenizer = Run.open(arguments.run_path).tokenizer
    try:
      suppressed = [tokenizer.id(piece) for piece in arguments.suppress]
    except ValueError as error:
      raise ValueError(f"--suppress: {error}") from None
  return Search(
    beam=beam,
    penalty=penalty_from(arguments),
    extra=arguments.extra,
    n_best=outputs,
    sampler=sampler,
    min_length=arguments.min_length,
    max_length=arguments.max_length,
    suppressed=tuple(suppressed),
  )


def translator_from(arguments, search):
  """The run that the flags name, opened as a translator."""
  from transformer.runs.translator import Translator

  configs.check_at_least("--batch-size", arguments.batch_size, 1)
  return Translator.open(
    arguments.run_path,
    search,
    arguments.step,
    arguments.batch_size,
    arguments.weights == "int8",
  )
