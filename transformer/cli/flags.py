"""Flags that several verbs share, and the objects that they describe.

Nothing of JAX is imported before a verb runs, so that `--help` is quick.
"""

import argparse
import dataclasses
import sys
from pathlib import Path

from transformer import config as configs
from transformer.cli.parser import VerbParser


def add_run(parser: argparse.ArgumentParser) -> None:
  """The run to use."""
  parser.add_argument("run_path", metavar="RUN", type=Path, help="directory of the run")


def add_step(parser: argparse.ArgumentParser) -> None:
  """The checkpoint to use."""
  parser.add_argument(
    "--step", type=int, metavar="N", help="checkpoint to use (default: the newest)"
  )


def add_json(parser: argparse.ArgumentParser, more: str = "") -> None:
  """Output for programs; `more` ends the help."""
  parser.add_argument(
    "--json", action="store_true", help=f"print one JSON object{more}"
  )


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
    "--seed", type=int, metavar="N",
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
    configs.check_number(GNMT, "alpha", arguments.alpha, "--alpha")
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
  seed = getattr(arguments, "seed", None)
  check_seed(seed or 0)
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
  if seed is not None and not draws:
    raise ValueError("--seed: nothing is sampled; give --sample, or leave it out")
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
