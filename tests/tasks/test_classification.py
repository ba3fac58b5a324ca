"""Classification of image files, from training to the command line."""

import dataclasses
import io
import json
import os
import re
import shutil
import sys

import jax
import numpy as np
import pytest

from tests.inference.test_devices import assert_scores_of_one_device
from tests.models.test_vision import RESNET, VIT
from tests.tiny_run import Now, digest, losses
from transformer import cli, tree
from transformer.batch import Images
from transformer.data.batching import Rows
from transformer.data.images import Augmentation, RandomCrop, RandomResizedCrop
from transformer.data.sources.dates import Dates
from transformer.data.sources.image_folder import ImageFolder
from transformer.experiment import Config
from transformer.runs import trainer
from transformer.runs.classifier import Classifier
from transformer.runs.metrics import Metrics
from transformer.runs.run import Run
from transformer.tasks.base import EvaluationInputs
from transformer.tasks.classification import ROWS
from transformer.tasks.image_classification import ImageClassification
from transformer.training.schedules import Schedule

Image = pytest.importorskip("PIL.Image")

SHADES = {"dark": 40, "light": 200, "mixed": 120}
"""What the classes look like on average; colours differ at random."""


def draw(file, shade, rng, size):
  noise = rng.integers(-30, 30, (*size, 3))
  Image.fromarray((shade + noise).astype(np.uint8)).save(file)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """Files of several sizes and kinds: 11, 7 and 5 of each class to train, 3 to val."""
  root = tmp_path_factory.mktemp("images")
  rng = np.random.default_rng(0)
  for split, counts in (("train", (11, 7, 5)), ("val", (3, 3, 3))):
    for (name, shade), count in zip(SHADES.items(), counts, strict=True):
      (root / split / name).mkdir(parents=True)
      for i in range(count):
        suffix = ("png", "bmp")[i % 2]
        draw(root / split / name / f"{i}.{suffix}", shade, rng, (6 + i % 3, 9))
  (root / "train" / "dark" / "notes.txt").write_text("no image")
  return root


def config(folder, model, **changes):
  made = Config(
    data=ImageFolder(str(folder)),
    model=model,
    task=ImageClassification(size=6, augmentation=RandomCrop(pixels=1)),
    batching=Rows(8),
    steps=5,
    log_every=1,
    eval_every=5,
    save_every=5,
    metric="accuracy",
  )
  return dataclasses.replace(made, **changes)


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory):
  path = tmp_path_factory.mktemp("runs") / "resnet"
  assert trainer.train(config(folder, RESNET), path) == 0
  return path


@pytest.mark.parametrize("model", [VIT, RESNET], ids=["ViT", "ResNet"])
def test_a_stopped_run_goes_on_as_the_same_run(
  model, folder, trained, tmp_path, monkeypatch
):
  whole = trained
  if model is not RESNET:
    whole = tmp_path / "whole"
    assert trainer.train(config(folder, model), whole) == 0
  with monkeypatch.context() as patch:
    patch.setattr(trainer, "Interrupt", Now)
    assert trainer.train(config(folder, model), tmp_path / "run") == trainer.INTERRUPTED
  assert Run.open(tmp_path / "run").steps() == [1]
  assert trainer.train(config(folder, model), tmp_path / "run") == 0
  assert losses(tmp_path / "run") == losses(whole)
  assert digest(tmp_path / "run") == digest(whole)


def test_a_run_keeps_its_classes_and_is_scored_beside_the_majority(trained, folder):
  assert json.loads((trained / "names.json").read_text()) == list(SHADES)
  assert not (trained / "tokenizer.model").exists()
  scores = {name: value for _, name, value in Metrics.read(trained)}
  assert scores["val/examples"] == 9
  assert scores["val/majority_accuracy"] == pytest.approx(1 / 3)
  assert 0.0 <= scores["val/accuracy"] <= 1.0
  report = (trained / "report.md").read_text()
  assert f"transformer classify {trained}" in report and "| accuracy |" in report


def test_the_scores_are_those_of_every_image_once(trained, folder):
  run = Run.open(trained)
  task, params = run.config.task, run.params()
  assert ROWS > 9
  scores, samples = task.evaluate(
    EvaluationInputs(
      run.module(), params, run.config.data, run.vocabulary, "val", run.cache, False
    )
  )
  squares = task.examples(run.config.data, "val", run.vocabulary)
  loss, right = 0.0, 0
  for i in range(9):
    batch = squares.batch(np.array([i]))
    (logit_v,) = run.module().apply({"params": params}, batch)
    logprob_v = jax.nn.log_softmax(logit_v)
    loss -= float(logprob_v[batch.label_b[0]])
    right += int(logprob_v.argmax() == batch.label_b[0])
  assert scores["loss"] == pytest.approx(loss / 9, abs=1e-5)
  assert scores["accuracy"] == right / 9
  assert [row[2] for row in samples.rows] == [n for n in SHADES for _ in range(3)]


def test_the_class_of_a_file_does_not_depend_on_its_batch(trained, folder, capsys):
  files = [str(path) for path in sorted((folder / "val").rglob("*.*"))]
  assert cli.main(["classify", str(trained), *files]) == 0
  lines = capsys.readouterr().out.splitlines()
  assert [line.split("\t")[0] for line in lines] == files
  for line in lines:
    _, name, share = line.split("\t")
    assert name in SHADES and 1 / 3 - 1e-3 <= float(share) <= 1.0
  for file, line in zip(files[::4], lines[::4], strict=True):
    assert cli.main(["classify", str(trained), file]) == 0
    assert capsys.readouterr().out.strip() == line
  assert cli.main(["classify", str(trained), files[0], "--top", "2", "--json"]) == 0
  record = json.loads(capsys.readouterr().out)
  assert record["input"] == files[0] and len(record["classes"]) == 2
  (answer,) = Classifier.open(trained).classify([files[0]])
  assert sum(answer.probabilities) == pytest.approx(1.0, abs=1e-5)
  assert [each["class"] for each in record["classes"]] == [*answer.classes[:2]]


@pytest.mark.parametrize("given", ["arguments", "lines"])
def test_one_bad_image_does_not_cost_the_others(
  given, trained, folder, tmp_path, capsys, monkeypatch
):
  good = [str(path) for path in sorted((folder / "val").rglob("*.*"))[:2]]
  bad = tmp_path / "bad.png"
  bad.write_bytes(b"no image")
  files = [good[0], str(bad), str(tmp_path / "none.png"), good[1]]
  data = b"\n".join([*map(os.fsencode, files), b"\xe4"])
  monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
  words = files if given == "arguments" else []
  assert cli.main(["classify", str(trained), *words]) == 1
  out, err = capsys.readouterr()
  assert [line.split("\t")[0] for line in out.splitlines()] == good
  assert cli.main(["classify", str(trained), good[0], "\u200b", good[1]]) == 0
  first, blank, last = capsys.readouterr().out.splitlines()
  assert [first, last] == out.splitlines() and blank == "\u200b"
  errors = err.splitlines()
  assert errors[0].startswith(f"error: input 2: {bad}: not an image")
  assert errors[1].startswith(f"error: input 3: {tmp_path}/none.png: cannot be read")
  assert len(errors) == 2 + (given == "lines")
  if given == "lines":
    assert errors[2].startswith("error: input 5: standard input: line 5: invalid UTF-8")


def test_evaluate_and_info_and_average_know_a_run_without_a_tokenizer(
  trained, capsys, tmp_path
):
  copy = shutil.copytree(trained, tmp_path / "copy")
  assert cli.main(["evaluate", str(copy), "--split", "val", "--json"]) == 0
  record = json.loads(capsys.readouterr().out)
  assert {"loss", "accuracy", "majority_accuracy"} <= set(record)
  assert (copy / "evaluations" / "val.reference.txt").read_text().split() == [
    name for name in SHADES for _ in range(3)
  ]
  assert cli.main(["info", str(copy), "--json"]) == 0
  assert json.loads(capsys.readouterr().out)["vocabulary"] == 3
  assert cli.main(["average", str(copy), "--last", "1"]) == 0
  assert Run.open(tmp_path / "copy-averaged").vocabulary.size == 3


@pytest.mark.parametrize(
  "arguments, message",
  [
    (["classify", "RUN", "none.png"], "none.png: cannot be read"),
    (["classify", "RUN", "RUN/config.json"], "config.json: not an image"),
    (["classify", "RUN", "--top", "0", "x"], "--top: expected 1 or more, got 0"),
    (["translate", "RUN", "a text"], "use: transformer classify"),
    (["generate", "RUN", "a text"], "use: transformer classify"),
  ],
)
def test_what_cannot_be_done_is_told_in_one_line(arguments, message, trained, capsys):
  arguments = [word.replace("RUN", str(trained)) for word in arguments]
  assert cli.main(arguments) == 1
  error = capsys.readouterr().err
  assert message in error and error.startswith("error: ") and error.count("\n") == 1


def test_other_classes_are_refused(trained, folder, tmp_path):
  copy = shutil.copytree(trained, tmp_path / "copy")
  (copy / "names.json").write_text('["dark", "light", "other"]')
  with pytest.raises(ValueError, match=r"names\.json is not the one that the checkp"):
    Run.open(copy).params()
  (copy / "names.json").write_text('["dark", "dark"]')
  with pytest.raises(ValueError, match="expected a JSON list of different words"):
    Run.open(copy)
  other = shutil.copytree(folder, tmp_path / "folder")
  (other / "train" / "more").mkdir()
  run, task = Run.open(trained), ImageClassification(size=6)
  with pytest.raises(ValueError, match="other classes than the run"):
    task.examples(ImageFolder(str(other)), "train", run.vocabulary)


def warm_started(trained, data, path):
  """A run on `data` that starts from `trained` and stays there but for what is new."""
  made = config(data, RESNET, init=str(trained), schedule=Schedule(0.0), steps=1)
  assert trainer.train(made, path) == 0
  return Run.open(path)


def test_a_run_on_other_classes_starts_from_a_run_with_a_new_head(
  trained, folder, tmp_path, capsys
):
  other = shutil.copytree(folder, tmp_path / "folder")
  shutil.copytree(other / "train" / "dark", other / "train" / "more")
  run = warm_started(trained, other, tmp_path / "run")
  assert json.loads((run.path / "names.json").read_text()) == [
    "dark", "light", "mixed", "more",
  ]  # fmt: skip
  assert re.search(
    r" taken \(.*\), 2 of another shape initialised \("
    r"head/w is \((\d+), 3\) there and \(\1, 4\) here; "
    r"head/w_bias is \(3,\) there and \(4,\) here\)\n",
    capsys.readouterr().err,
  )
  found, parent = (
    {path: np.asarray(leaf) for path, leaf in tree.paths(each.params()).items()}
    for each in (run, Run.open(trained))
  )
  assert found["head/w"].shape == (*parent["head/w"].shape[:-1], 4)
  kernels = [path for path in parent if path.endswith("convolution/w")]
  assert len(kernels) > 5
  for path in kernels:
    np.testing.assert_array_equal(found[path], parent[path], path)


def test_classes_of_other_names_are_the_datas_and_no_imported_models(
  trained, folder, tmp_path
):
  imported = shutil.copytree(trained, tmp_path / "imported")
  (imported / "huggingface").mkdir()
  (imported / "huggingface" / "config.json").write_text('{"id2label": {}}')
  same = warm_started(imported, folder, tmp_path / "same")
  assert (same.path / "huggingface" / "config.json").is_file()
  other = shutil.copytree(folder, tmp_path / "folder")
  for split in ("train", "val"):
    (other / split / "mixed").rename(other / split / "odd")
  run = warm_started(imported, other, tmp_path / "run")
  assert json.loads((run.path / "names.json").read_text()) == ["dark", "light", "odd"]
  assert not (run.path / "huggingface").exists()


@pytest.mark.parametrize(
  "changes, message",
  [
    (dict(data=Dates()), "expected images, got Dates"),
    (
      dict(model=dataclasses.replace(VIT, channels=1)),
      r"model\.channels: expected 3, as in the images, got 1",
    ),
    (
      dict(model=dataclasses.replace(VIT, patch=4)),
      r"model\.patch: expected a divisor of the image size 6 x 6",
    ),
    (
      dict(task=ImageClassification(size=6, channels=1)),
      r"model\.channels: expected 1, as in the images, got 3",
    ),
  ],
)
def test_training_refuses_what_does_not_fit(folder, tmp_path, changes, message):
  with pytest.raises(ValueError, match=message):
    trainer.train(config(folder, **{"model": RESNET, **changes}), tmp_path / "run")


def test_batches_for_texts_are_refused(folder, tmp_path):
  from transformer.data.batching import Packed

  with pytest.raises(ValueError, match=r"--config\.batching: .* take Rows"):
    trainer.train(config(folder, RESNET, batching=Packed()), tmp_path / "run")
  assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
  "view", [Augmentation(), RandomCrop(pixels=2), RandomResizedCrop()]
)
def test_training_sees_a_pure_function_of_seed_and_step(folder, view):
  task = ImageClassification(size=6, augmentation=view)
  names = task.vocabulary(task.make_vocabulary(ImageFolder(str(folder)), None), None)

  def batch(member_b, step, seed=3):
    squares = task.examples(ImageFolder(str(folder)), "train", names, seed)
    return squares.batch(np.array(member_b), step)

  member_b = [4, 9, 0, 17, 21]
  first = batch(member_b, 7)
  assert isinstance(first, Images) and first.image_byxc.shape == (5, 6, 6, 3)
  for one, other in zip(first, batch(member_b, 7), strict=True):
    np.testing.assert_array_equal(one, other)
  # A process that fills two of the rows fills them with the same.
  own = batch([-1, 9, -1, -1, 21], 7)
  np.testing.assert_array_equal(own.image_byxc[[1, 4]], first.image_byxc[[1, 4]])
  assert own.real_b.tolist() == [0, 1, 0, 0, 1] and not own.image_byxc[[0, 2, 3]].any()
  random = type(view) is not Augmentation
  for other in (batch(member_b, 8), batch(member_b, 7, seed=4), batch(member_b, None)):
    assert np.any(other.image_byxc != first.image_byxc) == random


def test_eight_devices_score_images_as_one_does(trained, eight_devices):
  assert_scores_of_one_device(eight_devices, trained)
