"""`transformer convert`: a Hugging Face directory as a run, and back; the parameters of
a run as a file, and back."""

import json
from pathlib import Path

from transformer.cli import flags


def add_arguments(parser: flags.VerbParser) -> None:
  """What is read and what is made."""
  parser.add_argument(
    "source", metavar="DIR", type=Path,
    help="Hugging Face directory, or with --like a safetensors file; with --to, a run",
  )  # fmt: skip
  parser.add_argument(
    "target", metavar="RUN", type=Path,
    help="new run; with --to, a new directory or file",
  )  # fmt: skip
  parser.add_argument(
    "--to", choices=("huggingface", "safetensors"),
    help="write a run as the directory that its Hugging Face class opens, or its "
    "parameters alone as one file",
  )  # fmt: skip
  parser.add_argument(
    "--like", metavar="RUN", type=Path,
    help="make a run of a file of parameters, with this run's config and vocabulary",
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
    if arguments.like is not None:
      raise ValueError("--like makes a run, and --to writes one; give one of them")
    write_back(arguments) if arguments.to == "huggingface" else write_file(arguments)
    return
  if arguments.step is not None:
    raise ValueError("--step: what a run is made of has no steps; leave it out")
  if arguments.like is not None:
    read_file(arguments)
    return
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


def write_file(arguments) -> None:
  """The parameters of a run to a safetensors file."""
  from transformer import config as configs
  from transformer import tree
  from transformer.runs.output import OutputFile
  from transformer.runs.parameters_file import write_parameters
  from transformer.runs.run import Run

  if OutputFile(arguments.target).is_replaced:
    raise ValueError(f"{arguments.target}: already exists; give another name")
  run = Run.open(arguments.source)
  params, step = run.checkpoint(arguments.step)
  found = {
    "step": str(step),
    "parameters_sha256": tree.sha256(params),
    "config_sha256": configs.digest(run.config),
    "tokenizer_sha256": run.vocabulary.sha256,
  }
  write_parameters(arguments.target, params, found)
  report(arguments, {"file": str(arguments.target), **found})


def read_file(arguments) -> None:
  """A safetensors file of parameters to a run."""
  import os

  from transformer import tree
  from transformer.runs.derived import write_derived
  from transformer.runs.directory import whole
  from transformer.runs.parameters_file import read_parameters
  from transformer.runs.run import Run

  if os.path.lexists(arguments.target):
    raise ValueError(f"{arguments.target}: already exists; give another name")
  run = Run.open(arguments.like)
  params = read_parameters(arguments.source, run.abstract_params())
  digest = tree.sha256(params)
  with whole(arguments.target) as scratch:
    write_derived(run, scratch, params, 0, {"read_from": arguments.source.name})
  report(arguments, {"run": str(arguments.target), "parameters_sha256": digest})


def report(arguments, record: dict[str, str]) -> None:
  """Prints what was made, its name first."""
  if arguments.json:
    print(json.dumps(record))
    return
  (_, name), *rest = record.items()
  print(f"{name}: {', '.join(f'{key} {value}' for key, value in rest)}")


def import_directory(arguments) -> None:
  """A directory to a run."""
  import tqdm

  from transformer.interop.convert import import_run
  from transformer.interop.hf_directory import HFDirectory

  directory = HFDirectory(arguments.source)
  with tqdm.tqdm(
    total=directory.size, desc="tensors", unit="B", unit_scale=True, leave=False,
    disable=arguments.json, delay=0.5,  # what is refused at once needs no bar
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
