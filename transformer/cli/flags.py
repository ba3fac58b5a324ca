"""Flags that several verbs share, and the objects that they describe.

Nothing of JAX is imported before a verb runs, so that `--help` is quick.
"""

import argparse
import dataclasses
import importlib
import sys
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

  def add_argument(self, *names, **settings):
    # Without a default, argparse's error would call even an optional list required.
    if settings.get("nargs") == "*":
      settings.setdefault("default", [])
    return super().add_argument(*names, **settings)

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
    "what is added to it (default that of the run, GNMT(0.6) unless it was converted)",
  )


def add_search(parser: VerbParser) -> None:
  """How outputs are searched for."""
  parser.add_argument(
    "--beam", type=int, metavar="N",
    help="beam size; 1 is greedy search (default that of the run, 4 unless it was "
    "converted, or as many as --n-best or --mbr; with --sample 1)",
  )  # fmt: skip
  add_penalty(parser)
  parser.add_argument(
    "--extra", type=int, metavar="N",
    help="limit outputs to the source length plus N tokens (default 50)",
  )  # fmt: skip
  parser.add_argument(
    "--max-length", type=int, metavar="N",
    help="limit outputs to N tokens, whatever the source length",
  )  # fmt: skip
  parser.add_argument(
    "--min-length", type=int, metavar="N",
    help="shortest output in tokens (default that of the run, 0 unless it was "
    "converted)",
  )  # fmt: skip
  parser.add_argument(
    "--suppress", action="append", default=[], metavar="PIECE",
    help="vocabulary piece that outputs must not contain, such as ▁der; can be "
    "repeated",
  )  # fmt: skip


def add_sampling(parser: VerbParser) -> None:
  """Random outputs, and the choice among many."""
  parser.add_recipe_argument(
    "--sample", "decoding.samplers:Sampler", "sample outputs instead of searching"
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


def add_tokenize(parser: argparse.ArgumentParser, default: str) -> None:
  """How BLEU divides texts into words."""
  parser.add_argument(
    "--tokenize", metavar="NAME",
    help="how BLEU divides texts into words, as sacreBLEU names it: 13a, intl, zh, "
    "ja-mecab, ko-mecab, char, flores101, flores200, spBLEU-1K or none; "
    f"default {default}",
  )  # fmt: skip


def check_seed(seed: int) -> None:
  """Raises ValueError if `--seed` is out of the random generator's range."""
  if not 0 <= seed < 2**32:
    raise ValueError(f"--seed: expected 0 to 2**32 - 1, got {seed}")


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


def add_mesh(parser: argparse.ArgumentParser) -> None:
  """The devices that share the work."""
  parser.add_argument(
    "--mesh", default="Mesh()", metavar="MESH",
    help="how the devices of this machine share the work: 'Mesh(tensor=2)' splits a "
    "model over two; affects speed and memory only (default: every device has the "
    "model and its share of the inputs)",
  )  # fmt: skip


def devices_from(arguments):
  """The devices that the flag of `add_mesh` describes."""
  from transformer.inference.devices import Devices
  from transformer.training.mesh import Mesh

  return Devices.local(configs.parse(arguments.mesh, Mesh, "--mesh"))


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
  from transformer.runs.output import write_file

  write_file(output, data)
  print(output)


def add_languages(parser: argparse.ArgumentParser) -> None:
  """The languages of a model that has several."""
  for side, what in (("source", "sources"), ("target", "translations")):
    parser.add_argument(
      f"--{side}-language", metavar="CODE",
      help=f"language of {what}, for a model of several languages: its own code, such "
      "as deu_Latn, or a short one, such as de",
    )  # fmt: skip


def with_languages(arguments, run):
  """A run with the languages that the flags of `add_languages` name."""
  return run.with_languages(arguments.source_language, arguments.target_language)


def decoding_of(arguments):
  """The search of the run that the flags name, where they do not describe another."""
  from transformer.inference.search import Search
  from transformer.runs.run import read_config
  from transformer.tasks.translation import Translation

  task = read_config(arguments.run_path).task
  return task.decoding if isinstance(task, Translation) else Search()


def penalty_from(arguments, default):
  """The length penalty that the flags of `add_penalty` describe, or `default`."""
  from transformer.decoding.penalty import GNMT, LengthPenalty

  if arguments.penalty is None:
    if arguments.alpha is None:
      return default
    configs.check_finite("--alpha", arguments.alpha)
    return GNMT(arguments.alpha)
  if arguments.alpha is not None:
    raise ValueError("give --alpha or --penalty, not both")
  return configs.parse(arguments.penalty, LengthPenalty, "--penalty")


def search_from(arguments, n_best: int | None = None, stream: bool = False):
  """The search that the flags of `add_search`, and of `add_sampling` where a verb has
  them, describe; the rest is the run's."""
  from transformer.decoding.samplers import Sampler
  from transformer.runs.run import Run

  mbr, sample = getattr(arguments, "mbr", None), getattr(arguments, "sample", None)
  check_seed(getattr(arguments, "seed", 0))
  if mbr is not None and n_best is not None:
    raise ValueError("give --mbr or --n-best, not both")
  for flag, value, minimum in (
    ("--beam", arguments.beam, 1),
    ("--mbr", mbr, 1),
    ("--n-best", n_best, 1),
    ("--extra", arguments.extra, 0),
    ("--min-length", arguments.min_length, 0),
    ("--max-length", arguments.max_length, 1),
  ):
    if value is not None:
      configs.check_at_least(flag, value, minimum)
      if value >= 2**31:
        raise ValueError(f"{flag}: expected less than 2**31, got {value}")
  if None not in (arguments.max_length, arguments.min_length) and (
    arguments.max_length < arguments.min_length
  ):
    raise ValueError(
      f"--max-length {arguments.max_length} is below --min-length "
      f"{arguments.min_length}"
    )
  sampler = Sampler()
  if sample is not None:
    sampler = configs.parse(sample, Sampler, "--sample")
  outputs = next(n for n in (mbr, n_best, 1) if n is not None)
  flag = "--n-best" if mbr is None else "--mbr"
  draws = type(sampler) is not Sampler
  found = decoding_of(arguments)
  if arguments.beam is None:
    greedy = stream or sample is not None
    beam = 1 if greedy else beam_for(flag, outputs, found.beam)
  else:
    beam = arguments.beam
  for other, needs_greedy in (("--stream", stream), ("--sample", draws)):
    if needs_greedy and beam > 1:
      raise ValueError(f"{other} needs --beam 1, got {beam}; leave --beam out")
  if outputs > beam and not draws:
    raise ValueError(f"{flag} {outputs} needs --beam {outputs} or more, got {beam}")
  suppressed: list[int] = []
  if arguments.suppress:
    tokenizer = Run.open(arguments.run_path).tokenizer
    try:
      suppressed = [tokenizer.id(piece) for piece in arguments.suppress]
    except ValueError as error:
      raise ValueError(f"--suppress: {error}") from None
  given = {
    name: getattr(arguments, name)
    for name in ("extra", "min_length", "max_length")
    if getattr(arguments, name) is not None
  }
  return dataclasses.replace(
    found,
    beam=beam,
    penalty=penalty_from(arguments, found.penalty),
    n_best=outputs,
    sampler=sampler,
    suppressed=(*found.suppressed, *suppressed),
    prefix=(),  # follows from the language
    **given,
  )


def tokenize_from(arguments) -> str | None:
  """The tokenizer that `--tokenize` names, ready for use; None without the flag.

  Raises:
    ValueError: it is unknown, or lacks a package or a download.
  """
  from transformer.tasks.text_scores import BleuTokenizer, bleu_metric

  if arguments.tokenize is None:
    return None
  name = configs.parse(arguments.tokenize, BleuTokenizer, "--tokenize")
  bleu_metric(name)
  return name


def beam_for(flag: str, outputs: int, default: int) -> int:
  """The beam size where none is given: the default, or as large as `flag` asks for
  outputs, which changes the translations and is said."""
  if outputs <= default:
    return default
  print(f"{flag} {outputs}: searching with --beam {outputs}", file=sys.stderr)
  return outputs


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
    devices_from(arguments),
    arguments.source_language,
    arguments.target_language,
  )
