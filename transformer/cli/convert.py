"""`transformer convert`: a Hugging Face directory as a run, and back."""

import json
from pathlib import Path

from transformer.cli import flags


def add_arguments(parser: flags.VerbParser) -> None:
  """What is read and what is made."""
  parser.add_argument(
    "source", metavar="DIR", type=Path, help="Hugging Face directory; with --to, a run"
  )
  parser.add_argument(
    "target", metavar="RUN", type=Path, help="new run; with --to, a new directory"
  )
  parser.add_argument(
    "--to", choices=("huggingface",),
    help="write the run back as the directory that its Hugging Face class opens",
  )  # fmt: skip
  flags.add_step(parser)
  flags.add_json(parser)


def run(arguments) -> None:
  """Make a run of a Hugging Face directory, on which every verb works; or write one
  back.

  Download a directory first: hf download Helsinki-NLP/opus-mt-en-de --local-dir DIR.
  Every tensor must have its place, and nothing in the directory is run. Where PyTorch
  and transformers are installed, outputs are compared before the run is kept.
  """
  if arguments.to:
    write_back(arguments)
    return
  if arguments.step is not None:
    raise ValueError("--step: a Hugging Face directory has no steps; leave it out")
  import_directory(arguments)


def write_back(arguments) -> None:
  """A run to a directory."""
  from transformer.interop.convert import export_run
  from transformer.runs.run import Run

  count = export_run(Run.open(arguments.source), arguments.target, arguments.step)
  if arguments.json:
    print(json.dumps({"directory": str(arguments.target), "tensors": count}))
    return
  print(f"{arguments.target}: {count} tensors of {arguments.source}")


def import_directory(arguments) -> None:
  """A directory to a run."""
  import tqdm

  from transformer.interop.convert import import_run
  from transformer.interop.hf_directory import HFDirectory

  directory = HFDirectory(arguments.source)
  with tqdm.tqdm(
    total=directory.size, desc="tensors", unit="B", unit_scale=True, leave=False,
    disable=arguments.json,
  ) as bar:  # fmt: skip
    found = import_run(directory, arguments.target, bar.update)
  if arguments.json:
    print(json.dumps({"run": str(arguments.target), **found._asdict()}))
    return
  print(
    f"{arguments.target}: {found.architecture}, {found.tensors} tensors, "
    f"{found.parameters:,} parameters, vocabulary {found.vocabulary:,}"
  )
  for setting in found.uncovered:
    print(f"not covered, and without effect here: {setting} (generation_config.json)")
  if found.difference is None:
    print(
      "outputs were not compared with Hugging Face's class: PyTorch and transformers "
      "are not installed here"
    )
  else:
    print(
      "outputs equal those of Hugging Face's class on random input; largest difference "
      f"{found.difference:.1e}"
    )
