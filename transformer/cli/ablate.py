"""`transformer ablate`: takes a study, and makes its runs itself."""

from pathlib import Path

from transformer.cli import flags


def add_arguments(parser: flags.VerbParser) -> None:
  """The study, and where its runs go."""
  parser.add_argument(
    "study", metavar="STUDY", type=Path,
    help="Python file with get_study(); see configs/studies/",
  )  # fmt: skip
  parser.add_argument(
    "--workdir", type=Path, required=True, metavar="DIRECTORY",
    help="directory of its runs and tables",
  )  # fmt: skip
  parser.add_argument(
    "--seeds", type=int, nargs="+", metavar="N", help="seeds (default: the study's)"
  )
  parser.add_argument(
    "--count", action="store_true",
    help="count parameters and FLOPs, and train nothing",
  )  # fmt: skip
  parser.set_defaults(overrides=[])


def run(arguments) -> int:
  """Train the rows of a study with several seeds, or check its claims.

  Writes table.md, table.csv, figure.png and report.html, whose rows open to their
  curves, and trials.csv for a sweep. Settings as in train.py,
  --config.name=value, change the base of the study; --config.help lists them. The same
  command resumes after an interruption.
  """
  import dataclasses

  from absl import logging

  from transformer import config as configs
  from transformer.studies.ablate import Ablation
  from transformer.studies.claims import Claims
  from transformer.studies.study import read

  # Errors are raised; Orbax would also print them, with the traceback.
  logging.set_verbosity(logging.FATAL)
  listing = configs.help_asked(arguments.overrides)
  study = read(arguments.study, arguments.overrides)
  if isinstance(study, Claims):
    if listing:
      raise ValueError(f"--config.help: {arguments.study} has no base with settings")
    for flag, given in (("--seeds", arguments.seeds), ("--count", arguments.count)):
      if given:
        raise ValueError(
          f"{flag}: {arguments.study} checks claims and trains nothing; leave it out"
        )
    return study.run(arguments.workdir)
  if listing:
    print(configs.format_settings(study.base))
    return 0
  if arguments.seeds:
    study = dataclasses.replace(study, seeds=tuple(arguments.seeds))
  ablation = Ablation(study, arguments.workdir)
  return ablation.count() if arguments.count else ablation.run()
