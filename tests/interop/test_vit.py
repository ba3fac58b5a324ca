"""Imported ViT and DeiT compute what the Hugging Face classes compute, and go back."""

import json
import re
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

from tests.interop.fixtures import FIXTURES, Fixture
from transformer.batch import Images
from transformer.cli import main
from transformer.data.images import Resize, ShorterSide, Squash
from transformer.interop.class_names import class_names
from transformer.interop.image_processor import read_image_processor
from transformer.interop.weights import export_tensors
from transformer.layers.images import PixelNorm
from transformer.runs.classifier import Classifier
from transformer.runs.run import Run

NAMES = ("vit", "deit", "deit_teacher")
CLASSES = ("house", "crane (1)", "Katze, Kater", "crane (3)", "boat")
SETTINGS = {
  "size": {"height": 20, "width": 20},
  "image_mean": [0.5] * 3,
  "image_std": [0.5] * 3,
}


@pytest.mark.parametrize("name", NAMES)
def test_pixels_and_logits(name):
  f = Fixture(name)
  task = f.family.experiment(f.origin, f.model, f.order).task
  images = [f.expected[f"image_{i}"] for i in range(3)]
  image_byxc = np.stack([task.resize(image, task.size) for image in images])
  pixels_byxc = f.model.pixels(image_byxc, 3, np.float32)
  theirs = [f.expected[f"pixels_{i}"].transpose(1, 2, 0) for i in range(3)]
  np.testing.assert_allclose(pixels_byxc, theirs, rtol=0, atol=2e-6)
  batch = Images(image_byxc, np.zeros(3, np.int32), np.ones(3, np.int32))
  module = f.model.module(f.order.size)
  logits_bv = jax.jit(module.apply)({"params": f.imported.params}, batch)
  theirs_bv = [f.expected[f"logits_{i}"] for i in range(3)]
  np.testing.assert_allclose(logits_bv, theirs_bv, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_bytes_for_every_tensor(name):
  f = Fixture(name)
  tensors = f.family.tensor_map(f.origin, f.model, f.order)
  found = export_tensors(f.origin, tensors, *f.imported)
  assert found.keys() == f.origin.infos.keys()
  for tensor in f.origin.infos:
    stored = np.ascontiguousarray(f.directory.read(tensor))
    assert found[tensor].shape == stored.shape
    assert found[tensor].tobytes() == stored.tobytes(), tensor


@pytest.mark.parametrize("name", NAMES)
def test_a_run_classifies_and_goes_back(name, tmp_path, capsys):
  run, back = tmp_path / "run", tmp_path / "back"
  assert main(["convert", str(FIXTURES / name), str(run), "--json"]) == 0
  assert json.loads(capsys.readouterr().out)["vocabulary"] == 5
  f = Fixture(name)
  files = []
  for i in range(3):
    files.append(str(tmp_path / f"{i}.png"))
    Image.fromarray(f.expected[f"image_{i}"]).save(files[-1])
  for i, found in enumerate(Classifier.open(run).classify(files)):
    expected_v = jax.nn.softmax(f.expected[f"logits_{i}"])
    probabilities = dict(zip(found.classes, found.probabilities, strict=True))
    np.testing.assert_allclose(
      [probabilities[name] for name in CLASSES], expected_v, rtol=0, atol=1e-5
    )
  assert main(["classify", str(run), files[0], "--json"]) == 0
  best = json.loads(capsys.readouterr().out)["classes"][0]["class"]
  assert best == CLASSES[int(f.expected["logits_0"].argmax())]
  assert main(["convert", str(run), str(back), "--to", "huggingface"]) == 0
  kept = [path for path in (FIXTURES / name).iterdir() if "expected" not in path.name]
  assert len(kept) == 3 == len(list(back.iterdir()))
  for source in kept:
    assert (back / source.name).read_bytes() == source.read_bytes(), source.name
  assert Run.open(run).config.model.pixels == f.model.pixels


def test_image_processors():
  def read(**settings):
    return read_image_processor(SETTINGS | settings, 3)

  assert read(resample=3)[:2] == (Squash(0, "bicubic"), 20)
  # As older files have it, and as newer ones leave settings out.
  old = read(size=26, crop_size=20, do_center_crop=True, rescale_factor=None)
  assert old[:2] == (Squash(26, "bilinear"), 20)
  short = {"size": {"shortest_edge": 26}, "crop_size": 20, "do_center_crop": True}
  assert read(**short)[:2] == (ShorterSide(26, "bilinear"), 20)
  assert read().pixels() == PixelNorm((0.5,) * 3, (0.5,) * 3)
  image_byxc = np.random.default_rng(0).integers(256, size=(2, 3, 5, 3), dtype="u1")
  for settings in (
    {"do_normalize": False},
    {"do_rescale": False, "image_mean": [120.0, 90, 100], "image_std": [50.0, 60, 70]},
    {"rescale_factor": 1 / 127.5, "image_mean": [1.0] * 3, "image_std": [1.0] * 3},
  ):
    processor = read(**settings)
    np.testing.assert_allclose(
      processor.pixels()(image_byxc, 3, np.float32), processor.normalise(image_byxc),
      rtol=0, atol=2e-6,
    )  # fmt: skip


@pytest.mark.parametrize(
  "settings, message",
  [
    ({"do_resize": False}, "do_resize: False is not covered"),
    ({"resample": 6}, "resample: expected a filter of Pillow, got 6"),
    ({"resample": "bicubic"}, "resample: expected int, got 'bicubic'"),
    ({"size": {"height": 20, "width": 24}}, "size: .* is not covered, only squares"),
    ({"size": {"shortest_edge": 20}}, "without do_center_crop is not covered"),
    ({"size": None}, "size: expected pixels, 1 or more, got None"),
    ({"image_mean": [0.5]}, "image_mean: expected 3 numbers"),
    ({"image_std": [0.5, 0.0, 0.5]}, "image_std above 0"),
  ],
)
def test_image_processors_that_are_refused(settings, message):
  with pytest.raises(ValueError, match=rf"preprocessor_config\.json: .*{message}"):
    read_image_processor(SETTINGS | settings, 3)


@pytest.mark.parametrize(
  "values, message",
  [
    ({"image_size": 25}, "images of 20 pixels a side, but"),
    ({"patch_size": 3}, "patch_size: 3 does not divide image_size 20"),
    ({"qkv_bias": False}, "qkv_bias: False is not covered"),
    ({"num_hidden_layers": 3}, "encoder.layer.2.* is missing"),
    ({"id2label": {"0": "a", "2": "b"}}, "id2label: expected the name"),
    ({"id2label": {"0": "a"}}, "expected 2 classes or more, got 1"),
    ({"problem_type": "regression"}, "problem_type: 'regression'"),
    (
      {"id2label": {"0": "a", "1": "b"}},
      r"classifier.bias: expected shape \(2,\) by config",
    ),
  ],
)
def test_directories_that_are_refused(values, message, tmp_path, capsys):
  directory = tmp_path / "model"
  shutil.copytree(FIXTURES / "vit", directory)
  config = directory / "config.json"
  config.write_text(json.dumps(json.loads(config.read_text()) | values))
  assert main(["convert", str(directory), str(tmp_path / "run")]) == 1
  error = capsys.readouterr().err
  assert re.search(message, error) and error.count("\n") == 1
  assert not (tmp_path / "run").exists()


def test_a_directory_without_an_image_processor_is_refused(tmp_path, capsys):
  shutil.copytree(FIXTURES / "vit", tmp_path / "model")
  (tmp_path / "model" / "preprocessor_config.json").unlink()
  assert main(["convert", str(tmp_path / "model"), str(tmp_path / "run")]) == 1
  assert "expected the settings of an image processor" in capsys.readouterr().err


def test_classes_without_names_are_numbered():
  assert class_names({}) == ("LABEL_0", "LABEL_1")


def test_squares_of_an_image():
  image_yxc = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
  np.testing.assert_array_equal(Resize()(image_yxc, 4), image_yxc[:, 1:5])
  np.testing.assert_array_equal(ShorterSide(4)(image_yxc, 2), image_yxc[1:3, 2:4])
  assert Squash(resample="nearest")(image_yxc, 2).shape == (2, 2, 3)
  with pytest.raises(ValueError, match=r"expected a side of task\.size 20 or more"):
    Squash(19).check(20)
  with pytest.raises(ValueError, match=r"expected resample nearest, .* got 'cubic'"):
    Squash(resample="cubic")
