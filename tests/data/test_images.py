"""Images as training sees them, and how files and digits are divided."""

import numpy as np
import pytest

from tests.tasks.test_classification import SHADES, draw
from transformer.data.images import RandomCrop
from transformer.data.sources.image_folder import ImageFolder


def test_a_shifted_image_is_a_part_of_the_image_or_of_its_mirror_image():
  rng = np.random.default_rng(0)
  image_yxc = rng.integers(1, 256, (5, 5, 3)).astype(np.uint8)
  seen = set()
  for _ in range(600):
    found = RandomCrop(pixels=2)(rng, image_yxc, 5)
    for flip in (False, True):
      upright = found[:, ::-1] if flip else found
      for dy in range(-2, 3):
        for dx in range(-2, 3):
          wide = np.pad(image_yxc, ((2, 2), (2, 2), (0, 0)))
          if np.array_equal(upright, wide[2 + dy : 7 + dy, 2 + dx : 7 + dx]):
            seen.add((flip, dy, dx))
  assert len(seen) == 50


def test_a_folder_without_splits_is_divided_by_names(tmp_path):
  rng = np.random.default_rng(0)
  for name, shade in SHADES.items():
    (tmp_path / name).mkdir()
    for i in range(40):
      draw(tmp_path / name / f"{i}.png", shade, rng, (4, 4))
  data = ImageFolder(str(tmp_path))
  parts = {split: data.open(split) for split in ("train", "val", "test")}
  names = [part.name(i) for part in parts.values() for i in range(len(part))]
  assert len(names) == len(set(names)) == 120
  assert min(map(len, parts.values())) >= 4 and len(parts["train"]) > 80
  assert len({data.fingerprint(split) for split in parts}) == 3
  with pytest.raises(ValueError, match="at least two"):
    ImageFolder(str(tmp_path / "dark")).classes()
  with pytest.raises(FileNotFoundError, match="nowhere: cannot be read"):
    ImageFolder(str(tmp_path / "nowhere")).open("train")


def test_digits_are_divided_in_the_order_of_their_writers():
  pytest.importorskip("sklearn")
  from transformer.data.sources.digits import Digits

  parts = [Digits().open(split) for split in ("train", "val", "test")]
  assert [len(part) for part in parts] == [1245, 276, 276]
  for part in parts:
    assert set(part.label_n.tolist()) == set(range(10))
  image_yxc = parts[0][0].image_yxc
  assert image_yxc.shape == (8, 8, 1) and image_yxc.dtype == np.uint8
  assert image_yxc.max() <= 255 and len(np.unique(image_yxc)) > 5
  assert len({Digits().fingerprint(s) for s in ("train", "val", "test")}) == 3
  few = Digits(examples=100)
  assert [len(few.open(split)) for split in ("train", "val", "test")] == [100, 276, 276]
  assert set(few.open("train").label_n.tolist()) == set(range(10))
  whole = [picture.image_yxc.tobytes() for picture in parts[0]]
  places = [whole.index(picture.image_yxc.tobytes()) for picture in few.open("train")]
  assert places == sorted(places) and places[-1] - places[0] > 1200
  assert few.fingerprint("train") != Digits().fingerprint("train")
  assert few.fingerprint("test") == Digits().fingerprint("test")
  with pytest.raises(ValueError, match=r"data.examples: 0 is not between 1 and 1,245"):
    Digits(examples=0)


def test_what_is_not_installed_is_named_with_the_fix(monkeypatch, tmp_path):
  import builtins

  from transformer.data.sources import digits, image_folder

  real = builtins.__import__

  def without(name, *rest):
    if name.partition(".")[0] in ("sklearn", "PIL"):
      raise ImportError(name)
    return real(name, *rest)

  monkeypatch.setattr(builtins, "__import__", without)
  digits._digits.cache_clear()
  with pytest.raises(ValueError, match=r"pip install 'transformer\[images\]'"):
    digits.Digits().open("train")
  with pytest.raises(ValueError, match=r"pip install 'transformer\[images\]'"):
    image_folder.read_image(tmp_path / "x.png")
