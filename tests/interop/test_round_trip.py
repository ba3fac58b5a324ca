"""Runs made of Hugging Face directories, and directories made of these runs."""

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.interop.fixtures import (
  FIXTURES,
  Fixture,
  write_classifier,
  write_marian,
  write_t5,
)
from transformer import config as configs
from transformer import experiment
from transformer.cli import flags, main
from transformer.data.sources.dates import Dates
from transformer.data.sources.image_folder import ImageFolder
from transformer.data.sources.parallel_text import ParallelText
from transformer.decoding.penalty import GNMT, HeuristicLengthPower
from transformer.decoding.samplers import TopK
from transformer.inference.search import Search
from transformer.interop.convert import export_run, import_run
from transformer.interop.hf_directory import HFDirectory
from transformer.interop.weights import export_tensors, import_params
from transformer.models.parent import ParentModel
from transformer.runs.prepare import inherit_model, prepare
from transformer.runs.run import Run
from transformer.runs.translator import Translator
from transformer.tasks.image_classification import ImageClassification

NAMES = ("marian", "marian_target_tied", "m2m", "bart", "mbart", "t5", "flan_t5")


@pytest.mark.parametrize("name", NAMES)
def test_the_same_bytes_for_every_tensor(name):
  f = Fixture(name)
  tensors = f.family.tensor_map(f.origin, f.model, f.order)
  found = export_tensors(f.origin, tensors, *f.imported)
  for tensor in f.origin.infos:
    stored = f.directory.read(tensor)
    assert found[tensor].dtype == stored.dtype
    assert found[tensor].tobytes() == np.ascontiguousarray(stored).tobytes(), tensor


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_other_types_copies_and_constants_come_back_too(tmp_path, dtype):
  f = Fixture("marian")
  stored = {n: f.directory.read(n).astype(dtype) for n in f.origin.infos}
  stored["lm_head.weight"] = stored["model.shared.weight"]
  table_td = np.asarray(f.model.position.table(np.arange(40)[None], 24)[0])
  stored["model.decoder.embed_positions.weight"] = table_td.astype(dtype)
  shutil.copy(f.path / "config.json", tmp_path)
  half = len(stored) // 2
  parts = {"a.safetensors": list(stored)[:half], "b.safetensors": list(stored)[half:]}
  for part, names in parts.items():
    save_file({name: stored[name] for name in names}, tmp_path / part)
  index = {name: part for part, names in parts.items() for name in names}
  (tmp_path / "model.safetensors.index.json").write_text(
    json.dumps({"weight_map": index})
  )
  directory = HFDirectory(tmp_path)
  origin = f.origin._replace(infos=directory.infos)
  imported = import_params(directory, f.family, f.model, f.order)
  assert list(imported.constants) == ["model.decoder.embed_positions.weight"]
  tensors = f.family.tensor_map(origin, f.model, f.order)
  found = export_tensors(origin, tensors, *imported)
  assert found.keys() == stored.keys()
  for name, values in stored.items():
    assert found[name].tobytes() == values.tobytes(), name


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
  """MarianMT's fixture, its vocabulary that of a small tokenizer."""
  path = tmp_path_factory.mktemp("interop") / "marian"
  write_marian(path)
  return path


@pytest.fixture(scope="module")
def run_path(directory) -> Path:
  path = directory.with_name("imported")
  import_run(HFDirectory(directory), path)
  return path


def test_the_command_makes_a_run_and_a_directory(directory, tmp_path, capsys):
  run, back = tmp_path / "run", tmp_path / "back"
  assert main(["convert", str(directory), str(run), "--json"]) == 0
  output = json.loads(capsys.readouterr().out)
  assert output["architecture"] == "MarianMTModel" and output["tensors"] == 112
  assert main(["convert", str(run), str(back), "--to", "huggingface"]) == 0
  for source in directory.iterdir():
    assert (back / source.name).read_bytes() == source.read_bytes(), source.name
  for target in (run, back):
    arguments = ["--to", "huggingface"] * (target == back)
    source = run if target == back else directory
    assert main(["convert", str(source), str(target), *arguments]) == 1
    assert "already exists" in capsys.readouterr().err


def test_a_vocabulary_that_was_rounded_up(tmp_path, capsys):
  """T5 has more rows than pieces, and its prompts are words of the text."""
  directory, run, back = (tmp_path / name for name in ("model", "run", "back"))
  write_t5(directory)
  assert main(["convert", str(directory), str(run)]) == 0
  prompt = "translate English to German: a small house"
  capsys.readouterr()
  assert main(["translate", str(run), prompt, "--max-length", "4", "--json"]) == 0
  (found,) = json.loads(capsys.readouterr().out)["hypotheses"]
  assert len(found["tokens"]) <= 5 and found["tokens"][-1] == "</s>"
  assert main(["convert", str(run), str(back), "--to", "huggingface"]) == 0
  for source in directory.iterdir():
    assert (back / source.name).read_bytes() == source.read_bytes(), source.name


@pytest.mark.slow
def test_verbs_work_on_an_imported_run(run_path, tmp_path, capsys):
  assert main(["translate", str(run_path), "a house", "--beam", "2"]) == 0
  pairs = tmp_path / "pairs.tsv"
  pairs.write_text("a house\tein Haus\n")
  assert main(["info", str(run_path), "--json"]) == 0
  assert json.loads(capsys.readouterr().out.splitlines()[-1])["step"] == 0


def test_translate_searches_as_the_directory_says(directory, tmp_path):
  """Flags take the place of single settings; a run trained here has the defaults."""
  path, run = tmp_path / "model", tmp_path / "run"
  shutil.copytree(directory, path)
  settings = {"num_beams": 3, "length_penalty": 0.7, "max_length": 30, "min_length": 4}
  (path / "generation_config.json").write_text(json.dumps(settings))
  import_run(HFDirectory(path), run)

  def search(*arguments):
    parser = flags.VerbParser()
    flags.add_run(parser)
    flags.add_search(parser)
    flags.add_sampling(parser)
    return flags.search_from(parser.parse_args([str(run), *arguments]))

  penalty = HeuristicLengthPower(0.7)
  expected = Search(beam=3, penalty=penalty, min_length=3, max_length=28)
  assert search() == expected == Translator.open(run).searcher.search
  assert search("--beam", "2", "--alpha", "0.5") == dataclasses.replace(
    expected, beam=2, penalty=GNMT(0.5)
  )
  found = search("--min-length", "0", "--max-length", "9", "--sample", "TopK(3)")
  assert found == dataclasses.replace(
    expected, beam=1, min_length=0, max_length=9, sampler=TopK(3)
  )
  config = Run.open(run).config
  assert config.task.search == expected
  task = dataclasses.replace(config.task, decoding=Search())
  text = configs.dumps(dataclasses.replace(config, task=task))
  (run / "config.json").write_text(text)
  assert search() == Search() and search("--mbr", "7").beam == 7


def test_a_run_that_was_trained_here_is_of_no_class(language_run, tmp_path):
  with pytest.raises(ValueError, match="not made by transformer convert"):
    export_run(Run.open(language_run), tmp_path / "back")
  assert not any(tmp_path.iterdir())


def test_what_is_trained_from_an_imported_run_goes_back_too(run_path, tmp_path):
  """The model is the parent's; its dropout may differ, its layers may not."""
  data = Dates(examples=20, held_out=4)
  config = experiment.Config(data, model=ParentModel(), init=str(run_path))
  config = inherit_model(config, tmp_path / "run")
  parent = Run.open(run_path)
  assert config.model == parent.config.model
  for name, change, allowed in (
    ("dropout", {"dropout": 0.3}, True),
    ("layers", {"decoder_layers": 1}, False),
  ):
    model = dataclasses.replace(config.model, **change)
    run = prepare(dataclasses.replace(config, model=model), tmp_path / name)
    with run.checkpoints() as checkpoints:
      params = parent.params() if allowed else run.abstract_params()
      params = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), params)
      checkpoints.save_params(1, params, {"tokenizer_sha256": run.vocabulary.sha256})
    if allowed:
      assert export_run(run, tmp_path / "back") == 112
      found = load_file(tmp_path / "back" / "model.safetensors")
      assert all((values == 1.0).all() for values in found.values())
    else:
      with pytest.raises(ValueError, match=r"config\.model is no longer that of"):
        export_run(run, tmp_path / "other")


def test_other_classes_of_images_are_the_reason_that_is_given(tmp_path):
  import_run(HFDirectory(FIXTURES / "vit"), tmp_path / "parent")
  for name in ("one", "two", "three"):
    for split in ("train", "val"):
      folder = tmp_path / "images" / split / name
      folder.mkdir(parents=True)
      (folder / "a.png").touch()
  config = experiment.Config(
    ImageFolder(str(tmp_path / "images")),
    model=ParentModel(),
    task=ImageClassification(),
    init=str(tmp_path / "parent"),
  )
  run = prepare(inherit_model(config, tmp_path / "run"), tmp_path / "run")
  assert run.vocabulary.words == ("one", "three", "two")
  with pytest.raises(ValueError) as error:
    export_run(run, tmp_path / "back")
  assert str(error.value) == (
    f"{run.path}: was trained from {tmp_path}/parent with other classes, so it is no "
    "longer the model of that Hugging Face directory; --to safetensors writes its "
    "parameters alone"
  )
  # Where the parent is gone, it is not claimed that there was none.
  shutil.rmtree(tmp_path / "parent")
  message = "nor trained from such a run with the same tokenizer or classes"
  with pytest.raises(ValueError, match=message):
    export_run(run, tmp_path / "back")
  assert not (tmp_path / "back").exists()


def test_other_classes_of_texts_are_not_written_under_the_old_names(tmp_path):
  write_classifier(tmp_path / "model")
  import_run(HFDirectory(tmp_path / "model"), tmp_path / "run")
  run = Run.open(tmp_path / "run")
  labels = run.config.task.labels
  task = dataclasses.replace(run.config.task, labels=(labels[0], "odd", *labels[2:]))
  changed = Run(run.path, dataclasses.replace(run.config, task=task), run.vocabulary)
  message = f"class 1 is 'odd' in config.task.labels, '{labels[1]}' in id2label of"
  with pytest.raises(ValueError, match=message):
    export_run(changed, tmp_path / "back")
  assert not (tmp_path / "back").exists()
  assert export_run(run, tmp_path / "back")


def test_the_parents_model_needs_a_parent(tmp_path):
  config = experiment.Config(ParallelText("a", "b"), model=ParentModel())
  with pytest.raises(ValueError, match=r"give that run as --config\.init=RUN"):
    inherit_model(config, tmp_path)
