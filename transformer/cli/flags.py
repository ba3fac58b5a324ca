"""Flags that several verbs have, and what they stand for.

Nothing of JAX is imported before a verb runs, so that `--help` comes at once.
"""

import argparse
import dataclasses
import importlib
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformer import config as configs


class Verb(argparse.ArgumentParser):
  """A verb's flags; its help ends in the recipes that they take."""

  def __init__(self, *arguments, **settings):
    super().__init__(*arguments, **settings)
    self._families: list[tuple[str, str, str]] = []

  def recipe(self, flag: str, family: str, text: str, **settings) -> None:
    """A flag that takes a member of a family of recipes, `module:Class`."""
    self.add_argument(flag, metavar="RECIPE", help=f"{text}; see below", **settings)
    self._families.append((flag, family, text))

  def format_help(self) -> str:
    text = super().format_help()
    for flag, family, what in self._families:
      lines = [f"{flag} RECIPE: {what}", *described(load(family))]
      text += "\n" + "".join(
        textwrap.fill(line, 78, initial_indent="  " * bool(i), subsequent_indent="    ")
        + "\n"
        for i, line in enumerate(lines)
      )
    return text


def load(family: str) -> type:
  """The class that `module:Class` names."""
  module, _, name = family.partition(":")
  return getattr(importlib.import_module(f"transformer.{module}"), name)


def described(family: type) -> Iterator[str]:
  """A line for every member of a family: how it is written, and what it is."""
  for name, kind in configs.members(family).items():
    fields: list[Any] = [f for f in dataclasses.fields(kind) if f.init]
    written = ", ".join(f"{field.name}={field.default!r}" for field in fields)
    summary = (kind.__doc__ or "").split("\n\n")[0]
    yield f"{name}({written}): {' '.join(summary.split())}"


def run(new: Verb) -> None:
  """Which run to use."""
  new.add_argument("run", metavar="RUN", type=Path, help="a run's directory")


def penalty(new: Verb) -> None:
  """How outputs of different lengths compare."""
  new.add_argument(
    "--alpha", type=float, metavar="A", help="short for --penalty 'GNMT(A)'"
  )
  new.recipe(
    "--penalty",
    "decoding.penalty:LengthPenalty",
    "how outputs compare: what divides the log-probability of n tokens, EOS counted, "
    "and what else counts (default GNMT(0.6))",
  )


def search(new: Verb) -> None:
  """How outputs are looked for."""
  new.add_argument(
    "--beam", type=int, metavar="N",
    help="live hypotheses; 1 is greedy (default 4, with --sample 1)",
  )  # fmt: skip
  penalty(new)
  new.add_argument(
    "--extra", type=int, default=50, metavar="N",
    help="longest output: that many tokens more than the source (default 50)",
  )  # fmt: skip
  new.add_argument(
    "--max-length", type=int, metavar="N", help="longest output in tokens, whatever "
    "the source's length",
  )  # fmt: skip
  new.add_argument(
    "--min-length", type=int, default=0, metavar="N",
    help="shortest output in tokens",
  )  # fmt: skip
  new.add_argument(
    "--suppress", action="append", default=[], metavar="PIECE",
    help="a piece of the vocabulary that no output may have, such as ▁der; can be "
    "given several times",
  )  # fmt: skip


def draw(new: Verb) -> None:
  """Outputs at random, and a choice among many."""
  new.recipe(
    "--sample", "decoding.sample:Sampler", "draw outputs at random instead of searching"
  )
  new.add_argument(
    "--seed", type=int, default=0,
    help="of --sample; what is drawn follows from it and the sentence (default 0)",
  )  # fmt: skip
  new.add_argument(
    "--mbr", type=int, metavar="N",
    help="find N outputs, or draw them, and take the one most like the others: minimum "
    "Bayes risk by chrF",
  )  # fmt: skip


def batch_size(new: Verb) -> None:
  """How much is computed at a time."""
  new.add_argument(
    "--batch-size", type=int, default=4096, metavar="N",
    help="source tokens x beam in one batch; changes speed alone (default 4096)",
  )  # fmt: skip


def weights(new: Verb) -> None:
  """What the parameters are kept in."""
  new.add_argument(
    "--weights", choices=("float32", "int8"), default="float32",
    help="int8 rounds matrices to 8 bits, one scale a channel, when they are loaded: "
    "faster, and a little different (default float32)",
  )  # fmt: skip


def checkpoint(new: Verb) -> None:
  """Which checkpoint to use."""
  new.add_argument("--step", type=int, help="a checkpoint; default: the newest")


def json(new: Verb) -> None:
  """Output for programs."""
  new.add_argument("--json", action="store_true", help="one JSON object")


def penalty_of(arguments):
  """The length penalty that the flags describe."""
  from transformer.decoding.penalty import GNMT, LengthPenalty

  if arguments.penalty is None:
    return GNMT() if arguments.alpha is None else GNMT(arguments.alpha)
  if arguments.alpha is not None:
    raise ValueError("give --alpha or --penalty, not both")
  return configs.parse(arguments.penalty, LengthPenalty, "--penalty")


def search_of(arguments, n_best: int | None = None, stream: bool = False):
  """The search that the flags of `search`, and of `draw` if it has them, describe."""
  from transformer.decoding.sample import Sampler
  from transformer.inference.search import Search
  from transformer.runs.run import Run

  mbr, sample = getattr(arguments, "mbr", None), getattr(arguments, "sample", None)
  if mbr is not None and n_best is not None:
    raise ValueError("give --mbr or --n-best, not both")
  wanted = next(n for n in (mbr, n_best, 1) if n is not None)
  sampler, beam = Sampler(), arguments.beam
  if sample is not None:
    sampler = configs.parse(sample, Sampler, "--sample")
  if beam is None:
    beam = 1 if stream or sample is not None else 4
  suppressed: list[int] = []
  if arguments.suppress:
    tokenizer = Run.open(arguments.run).tokenizer
    try:
      suppressed = [tokenizer.id(piece) for piece in arguments.suppress]
    except ValueError as error:
      raise ValueError(f"--suppress: {error}") from None
  return Search(
    beam=beam,
    penalty=penalty_of(arguments),
    extra=arguments.extra,
    n_best=wanted,
    sampler=sampler,
    min_length=arguments.min_length,
    max_length=arguments.max_length,
    suppressed=tuple(suppressed),
  )


def translator_of(arguments, search):
  """The run that the flags name, opened to translate."""
  from transformer.runs.translator import Translator

  if arguments.batch_size < 1:
    raise ValueError(f"--batch-size: {arguments.batch_size} is less than 1")
  return Translator.open(
    arguments.run, search, arguments.step, arguments.batch_size,
    arguments.weights == "int8",
  )  # fmt: skip
