"""`ablate`, which takes a study and makes the runs itself."""

from pathlib import Path

from transformer.cli import flags


def ablate_flags(new: flags.Verb) -> None:
  """Which study, and where."""
  new.add_argument(
    "study", metavar="STUDY", type=Path, help="a Python file with get_study(); see "
    "configs/studies/",
  )  # fmt: skip
  new.add_argument(
    "--workdir", type=Path, required=True, help="where its runs and tables are"
  )
  new.add_argument(
    "--seeds", type=int, nargs="+", metavar="N", help="instead of the study's"
  )
  new.add_argument(
    "--count", action="store_true", help="count parameters and FLOPs; train nothing"
  )
  new.set_defaults(overrides=[])


def ablate(arguments) -> int:
  """Trains the rows of a study with several seeds, or checks its claims, and tabulates
  the results.

  Settings as in train.py, --config.name=value, change the study's base. The same
  command resumes after any stop. Writes table.md, table.csv, figure.png and
  report.html.
  """
  import dataclasses

  from absl import logging

  from transformer.studies.ablate import Ablation
  from transformer.studies.claims import Claims
  from transformer.studies.study import read

  # What goes wrong is raised; Orbax would also print it, with the traceback.
  logging.set_verbosity(logging.FATAL)
  study = read(arguments.study, arguments.overrides)
  if isinstance(study, Claims):
    return study.run(arguments.workdir)
  if arguments.seeds:
    study = dataclasses.replace(study, seeds=tuple(arguments.seeds))
  ablation = Ablation(study, arguments.workdir)
  return ablation.count() if arguments.count else ablation.run()
