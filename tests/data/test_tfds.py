"""TensorFlow Datasets without TensorFlow, on a small set prepared here."""

import io
import sys

import numpy as np
import PIL.Image
import pytest

from transformer.data.sources import tfds_images
from transformer.data.sources.tfds import Tfds, TfdsLabelled, TfdsText
from transformer.data.sources.tfds_images import TfdsImages

tfds = pytest.importorskip("tensorflow_datasets")

PAIRS = [("A house.", "Ein Haus."), ("Zwölf", "twelve"), ("x", "y")]


class TinyTranslate(tfds.core.GeneratorBasedBuilder):
  VERSION = tfds.core.Version("1.0.0")

  def _info(self):
    features = tfds.features.FeaturesDict(
      {"en": tfds.features.Text(), "de": tfds.features.Text()}
    )
    return tfds.core.DatasetInfo(builder=self, description="-", features=features)

  def _split_generators(self, dl_manager):
    return {
      "train": self._generate_examples(3),
      "validation": self._generate_examples(2),
    }

  def _generate_examples(self, count):
    for i, (en, de) in enumerate(PAIRS[:count]):
      yield i, {"en": en, "de": de}


MOODS = [("a fine film", 1), ("dull", 0), ("never again", 0)]


class TinyMoods(tfds.core.GeneratorBasedBuilder):
  VERSION = tfds.core.Version("1.0.0")

  def _info(self):
    label = tfds.features.ClassLabel(names=["negative", "positive"])
    features = {"sentence": tfds.features.Text(), "label": label}
    return tfds.core.DatasetInfo(
      builder=self,
      description="-",
      features=tfds.features.FeaturesDict(features),
    )

  def _split_generators(self, dl_manager):
    return {
      "train": self._generate_examples(3),
      "validation": self._generate_examples(2),
    }

  def _generate_examples(self, count):
    for i, (sentence, label) in enumerate(MOODS[:count]):
      yield i, {"sentence": sentence, "label": label}


@pytest.fixture(scope="module")
def moods(tmp_path_factory):
  directory = str(tmp_path_factory.mktemp("tfds"))
  builder = TinyMoods(data_dir=directory, file_format="array_record")
  builder.download_and_prepare()
  return directory


def test_labels_lie_beside_texts(moods):
  data = TfdsLabelled("tiny_moods", directory=moods)
  assert data.classes == ("negative", "positive")
  texts, labels = data.open("train"), data.labels("train")
  assert sorted(zip(texts, labels, strict=True)) == sorted(MOODS)
  assert data.labels("test") == data.labels("val") and len(data.open("test")) == 2
  assert data.fingerprint("train") != data.fingerprint("val")
  with pytest.raises(ValueError, match=r"no classes in 'sentence'; there are \['sen"):
    _ = TfdsLabelled("tiny_moods", label="sentence", directory=moods).classes


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
  directory = str(tmp_path_factory.mktemp("tfds"))
  builder = TinyTranslate(data_dir=directory, file_format="array_record")
  builder.download_and_prepare()
  return directory


def test_a_prepared_set_is_read_with_random_access(prepared):
  train = Tfds("tiny_translate", "en", "de", prepared).open("train")
  found = [train[i] for i in range(len(train))]
  assert sorted(found) == sorted(PAIRS)
  back = Tfds("tiny_translate", "de", "en", prepared).open("val")
  assert sorted(pair[::-1] for pair in back) == sorted(PAIRS[:2])
  with pytest.raises(IndexError):
    train[3]
  assert "tensorflow" not in sys.modules


def test_texts_are_one_feature_and_one_held_out_split_serves_for_both(prepared):
  german = TfdsText("tiny_translate", "de", prepared)
  assert sorted(german.open("train")) == sorted(de for _, de in PAIRS)
  assert list(german.open("test")) == list(german.open("val"))
  assert german.fingerprint("test") == german.fingerprint("val")
  english = TfdsText("tiny_translate", "en", prepared)
  found = {english.fingerprint(split) for split in ("train", "val")}
  assert len(found) == 2 and german.fingerprint("val") not in found
  with pytest.raises(ValueError, match="no feature 'fr'"):
    TfdsText("tiny_translate", "fr", prepared).open("val")


def test_the_fingerprint_is_of_the_split_and_the_direction(prepared):
  def of(split, *sides):
    return Tfds("tiny_translate", *sides, prepared).fingerprint(split)

  found = {of("train", "en", "de"), of("val", "en", "de"), of("train", "de", "en")}
  assert len(found) == 3 and of("train", "en", "de") in found


def test_what_is_not_there_gets_one_line(prepared, tmp_path):
  cases = [
    (Tfds("tiny_translate", directory=str(tmp_path)), "train", "is not prepared in"),
    (
      Tfds("wmt14_translate/de-en", directory=str(tmp_path)),
      "train",
      "tfds build wmt14",
    ),
    (Tfds("nothing_of_the_kind"), "train", "not known to TFDS"),
    (Tfds("tiny_translate", "fr", "de", prepared), "train", "no feature 'fr'"),
    (Tfds("tiny_translate", "en", "de", prepared), "test", "has no split test"),
  ]
  for data, split, message in cases:
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
      data.open(split)
    assert "\n" not in str(error.value)


class TinyPictures(tfds.core.GeneratorBasedBuilder):
  VERSION = tfds.core.Version("1.0.0")

  def _info(self):
    features = tfds.features.FeaturesDict(
      {
        "image": tfds.features.Image(shape=(None, None, 3)),
        "label": tfds.features.ClassLabel(names=["left", "right"]),
      }
    )
    return tfds.core.DatasetInfo(builder=self, description="-", features=features)

  def _split_generators(self, dl_manager):
    return {"train": self._generate_examples(5), "test": self._generate_examples(2)}

  def _generate_examples(self, count):
    for i in range(count):
      # TFDS needs TensorFlow to encode an array, and nothing for a file.
      file = io.BytesIO()
      PIL.Image.fromarray(picture(i)).save(file, "png")
      yield i, {"image": io.BytesIO(file.getvalue()), "label": i % 2}


def picture(i):
  return np.full((4, 3 + i, 3), 40 * i, np.uint8)


def test_labelled_images_are_read_with_random_access(tmp_path):
  builder = TinyPictures(data_dir=str(tmp_path), file_format="array_record")
  builder.download_and_prepare()
  data = TfdsImages("tiny_pictures", directory=str(tmp_path))
  assert data.classes() == ("left", "right")
  train = data.open("train")
  assert len(train) == 5 and sorted(train.label_n) == [0, 0, 0, 1, 1]
  for image_yxc, label in train:
    i = image_yxc.shape[1] - 3
    np.testing.assert_array_equal(image_yxc, picture(i))
    assert label == i % 2
  found = {split: data.fingerprint(split) for split in ("train", "val", "test")}
  assert found["val"] == found["test"] != found["train"]
  assert len(data.open("val")) == 2
  with pytest.raises(ValueError, match="no labelled images under 'picture'"):
    TfdsImages("tiny_pictures", image="picture", directory=str(tmp_path)).open("train")
  assert "tensorflow" not in sys.modules


class Deep(TinyPictures):
  def _info(self):
    features = tfds.features.FeaturesDict(
      {
        "image": tfds.features.Image(shape=(None, None, 1), dtype=np.uint16),
        "label": tfds.features.ClassLabel(names=["left", "right"]),
      }
    )
    return tfds.core.DatasetInfo(builder=self, description="-", features=features)


def test_images_of_other_numbers_are_refused(tmp_path, monkeypatch):
  builder = Deep(data_dir=str(tmp_path))
  monkeypatch.setattr(tfds_images, "open_builder", lambda *_: builder)
  with pytest.raises(ValueError, match=r"images of uint16 .*expected uint8 and 1 or 3"):
    TfdsImages("deep").builder()
