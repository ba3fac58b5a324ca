"""`transformer info`: what a run is."""

from transformer.cli import flags
from transformer.cli.lines import print_record


def add_arguments(parser: flags.VerbParser) -> None:
  """The run and a checkpoint."""
  flags.add_run(parser)
  flags.add_step(parser)
  flags.add_json(parser)


def run(arguments) -> None:
  """Show a run's config and checkpoints, and the size and SHA-256 of its parameters."""
  from transformer import config as configs
  from transformer import tree
  from transformer.runs.run import Run

  run = Run.open(arguments.run_path)
  params, step = run.checkpoint(arguments.step)
  steps, ranks = run.steps(), run.ranks()
  metric = run.config.metric
  score = run.config.task.metric(metric)
  print_record(
    {
      "step": step,
      "checkpoints": steps,
      f"val/{metric}": {at: score.rank(rank) for at, rank in ranks.items()},
      "parameters": tree.size(params),
      "parameters_sha256": tree.sha256(params),
      "init": run.note(step).get("init"),
      "vocabulary": run.vocabulary.size,
      "tokenizer_sha256": run.vocabulary.sha256,
      **languages(run.vocabulary),
      "config_sha256": configs.digest(run.config),
      "config": configs.dump(run.config),
    },
    arguments.json,
  )


def languages(vocabulary) -> dict[str, str]:
  """The languages of a vocabulary, if it has several, as an item of the record."""
  from transformer.data.tokenizer import Tokenizer

  codes = vocabulary.languages if isinstance(vocabulary, Tokenizer) else ()
  return {"languages": " ".join(codes)} if codes else {}
