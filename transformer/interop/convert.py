"""Hugging Face directories to runs, and runs back to directories.

A run that was imported keeps, beside its own files, what only Hugging Face's classes
need, so that it can be written back:

  huggingface/NAME.json          the directory's JSON files, but for its tokenizer's
  huggingface/MODULE/config.json settings of sentence-transformers' modules, if any
  huggingface/tensors.json       names, types and shapes of its tensors
  huggingface/constants.safetensors   tensors that are no parameters, if there are any
"""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import load_file, save_file

from transformer import config as configs
from transformer import tree
from transformer.data.id_order import IdOrder
from transformer.data.tokenizer import Tokenizer
from transformer.data.tokenizers.files import NAMES, write_tokenizer
from transformer.data.tokenizers.imported import OpenedTokenizer
from transformer.interop.class_names import class_names
from transformer.interop.families import family_of
from transformer.interop.family import Origin
from transformer.interop.hf_directory import (
  HFDirectory,
  TensorInfo,
  read_json,
  read_optional_json,
)
from transformer.interop.proof import can_compare, largest_difference
from transformer.interop.sentence_modules import MODULES
from transformer.interop.vocabulary import open_vocabulary
from transformer.interop.weights import export_tensors, import_params, origin_of
from transformer.models.bert import BertClassifier
from transformer.runs.directory import check_inside, whole
from transformer.runs.run import HUGGINGFACE, Run
from transformer.tasks.text_classification import TextClassification
from transformer.training.checkpoint import Checkpoints

TRAINING_ALONE = ("dropout", "attention_dropout", "unroll", "remat", "kernel")
"""Settings of a model that change nothing when it is used."""

INDEX = ".index.json"  # of weights in several files; they are written as one

ALONE = "--to safetensors writes its parameters alone"

Progress = Callable[[int], Any]


class Imported(NamedTuple):
  """What was imported.

  Attributes:
    architecture: the class of transformers.
    tensors: their number.
    parameters: the number of numbers in the run's parameters.
    vocabulary: the number of ids.
    uncovered: settings of the directory's generation without a counterpart here.
    difference: the largest difference of an output from that of Hugging Face's class;
      None if it was not compared.
  """

  architecture: str
  tensors: int
  parameters: int
  vocabulary: int
  uncovered: list[str]
  difference: float | None


def import_run(
  directory: HFDirectory, path: Path, progress: Progress = lambda _: None
) -> Imported:
  """Makes a run of a directory, whole or not at all.

  `progress` is called with the size in bytes of every tensor when it has been read.

  Raises:
    ValueError: there is something at `path`, or the directory is damaged or not
      covered.
    OSError: the run cannot be written.
  """
  origin = origin_of(directory)
  try:
    family = family_of(directory.config)
  except ValueError as error:
    raise ValueError(f"{directory.path}: {error}") from None
  if path.exists():
    raise ValueError(f"{path}: already exists; choose another RUN")
  recipe, vocabulary, order = open_vocabulary(directory, family)
  try:
    model = family.model(origin, order)
    config = family.experiment(origin, model, order)
    config = dataclasses.replace(config, tokenizer=recipe)
  except ValueError as error:
    raise ValueError(f"{directory.path}: {error}") from None
  params, constants = import_params(directory, family, model, order, progress)
  difference = None
  if can_compare():
    difference = largest_difference(directory, family, model, order, params)
  with whole(path) as scratch:
    (scratch / "config.json").write_text(configs.dumps(config), encoding="utf-8")
    (scratch / config.task.vocabulary_file).write_bytes(vocabulary.model)
    keep_origin(directory, constants, scratch / HUGGINGFACE)
    with Checkpoints(scratch / "checkpoints") as checkpoints:
      checkpoints.save_params(0, params, {"tokenizer_sha256": vocabulary.sha256})
  return Imported(
    directory.config["architectures"][0], len(origin.infos), tree.size(params),
    order.size, family.uncovered(origin), difference,
  )  # fmt: skip


def keep_origin(directory: HFDirectory, constants, folder: Path) -> None:
  """Writes what only Hugging Face's classes need into the folder of a run."""
  folder.mkdir()
  for source in sorted(directory.path.glob("*.json")):
    if source.name not in NAMES and not source.name.endswith(INDEX):
      if source.name != MODULES:  # a list, read by `HFDirectory`
        read_json(source)
      shutil.copyfile(source, folder / source.name)
  for module in directory.modules:
    source = directory.path / module.path / "config.json"
    if module.path and source.is_file():
      (folder / module.path).mkdir()
      shutil.copyfile(source, folder / module.path / source.name)
  tensors = {n: [info.dtype, *info.shape] for n, info in directory.infos.items()}
  (folder / "tensors.json").write_text(json.dumps(tensors, indent=1), encoding="utf-8")
  if constants:
    # `ascontiguousarray` would give a scalar an axis.
    arrays = {name: np.array(x, order="C") for name, x in constants.items()}
    save_file(arrays, folder / "constants.safetensors")


def export_run(run: Run, directory: Path, step: int | None = None) -> int:
  """Writes a run that was imported as the directory that it was, whole or not at all,
  with the parameters that it has now; returns the number of tensors.

  Raises:
    ValueError: it was not imported, its model or its classes are no longer those of
      the directory, or there is something at `directory`.
    OSError: it cannot be written.
  """
  check_inside(run.path, HUGGINGFACE)
  folder = run.path / HUGGINGFACE
  if not folder.is_dir():
    raise ValueError(f"{run.path}: {why_not_imported(run)}; {ALONE}")
  if directory.exists():
    raise ValueError(f"{directory}: already exists; choose another DIR")
  origin = read_origin(folder)
  family, order = family_of(origin.config), order_of(run, origin)
  model, task = family.model(origin, order), run.config.task
  if not same_model(model, run.config.model):
    raise ValueError(
      f"{run.path}: config.model is no longer that of {folder}/config.json, so its "
      f"class cannot open it; {ALONE}"
    )
  # A run of images with other classes has another vocabulary, and no such folder.
  if isinstance(task, TextClassification) and isinstance(model, BertClassifier):
    check_labels(run, task.labels, class_names(origin.config))
  tensors = family.tensor_map(origin, run.config.model, order)
  constants = {}
  if (folder / "constants.safetensors").is_file():
    constants = load_file(folder / "constants.safetensors")
  found = export_tensors(origin, tensors, run.params(step), constants)
  with whole(directory) as scratch:
    for source in sorted(folder.glob("*.json")):
      if source.name != "tensors.json":
        shutil.copyfile(source, scratch / source.name)
    for source in sorted(folder.glob("*/config.json")):
      (scratch / source.parent.name).mkdir()
      shutil.copyfile(source, scratch / source.parent.name / source.name)
    if isinstance(run.vocabulary, OpenedTokenizer):
      write_tokenizer(run.vocabulary.model, scratch)
    save_file(found, scratch / "model.safetensors", metadata={"format": "pt"})
  return len(found)


def why_not_imported(run: Run) -> str:
  """Why a run has no folder of what Hugging Face's classes need."""
  parent = run.config.init
  if parent and (Path(parent) / HUGGINGFACE).is_dir():
    kept = isinstance(run.vocabulary, Tokenizer)
    what = "another tokenizer" if kept else "other classes"
    return (
      f"was trained from {parent} with {what}, so it is no longer the model of that "
      "Hugging Face directory"
    )
  return (
    "was not made by transformer convert, nor trained from such a run with the same "
    f"tokenizer or classes (it has no {HUGGINGFACE}/)"
  )


def check_labels(run: Run, ours: tuple[str, ...], theirs: tuple[str, ...]) -> None:
  """Raises ValueError if the classes of a run have other names than in the directory,
  which would be written back with the old ones."""
  for i, (our, their) in enumerate(zip(ours, theirs, strict=True)):
    if our != their:
      raise ValueError(
        f"{run.path}: class {i} is {our!r} in config.task.labels, {their!r} in "
        f"id2label of {HUGGINGFACE}/config.json; {ALONE}"
      )


def same_model(theirs: Any, ours: Any) -> bool:
  """Whether two models compute the same outputs: they may differ in dropout and speed
  alone."""
  if type(theirs) is not type(ours):
    return False
  free = {name: getattr(ours, name) for name in TRAINING_ALONE if hasattr(ours, name)}
  rate = ours.feed_forward.dropout
  if type(ours.feed_forward) is type(theirs.feed_forward):
    free["feed_forward"] = dataclasses.replace(theirs.feed_forward, dropout=rate)
  return dataclasses.replace(theirs, **free) == ours


def read_origin(folder: Path) -> Origin:
  """What `keep_origin` wrote.

  Raises:
    ValueError: it is damaged.
  """
  tensors = read_json(folder / "tensors.json")
  return Origin(
    read_json(folder / "config.json"),
    read_optional_json(folder / "generation_config.json"),
    {
      name: TensorInfo(tuple(shape), dtype) for name, (dtype, *shape) in tensors.items()
    },
    read_optional_json(folder / "preprocessor_config.json"),
  )


def order_of(run: Run, origin: Origin) -> IdOrder:
  """The order of a run's vocabulary."""
  if isinstance(run.vocabulary, OpenedTokenizer):
    return run.vocabulary.order
  return family_of(origin.config).order(origin)
