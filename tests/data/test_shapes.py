"""Drawn shapes: what is on them, where, and in which split."""

import dataclasses
import hashlib

import numpy as np
import pytest
from scipy import ndimage

from transformer.data.sources import shapes
from transformer.data.sources.shapes import STROKES, Shapes, draw, place

FEW = Shapes(examples=240, held_out=60)
SPLITS = ("train", "val", "test")
HOLES = {"circle": 1, "square": 1, "triangle": 1}
PARTS = {"parallels": 2}


def pixels(recipe, split, indices):
  """The images of these numbers, drawn anew."""
  shapes._pictures.cache_clear()
  pictures = recipe.open(split)
  return [pictures[i].image_yxc.tobytes() for i in indices]


def test_an_image_depends_on_seed_split_and_number_alone():
  first = pixels(FEW, "train", range(30))
  assert pixels(FEW, "train", reversed(range(30))) == first[::-1]
  more = dataclasses.replace(FEW, examples=300)
  assert pixels(more, "train", range(30)) == first
  for recipe, split in ((dataclasses.replace(FEW, seed=1), "train"), (FEW, "val")):
    assert not set(pixels(recipe, split, range(30))) & set(first)


def test_no_image_is_in_two_splits():
  """Not even where there are few different ones, as of 2 x 2 pixels without noise."""
  for recipe in (FEW, dataclasses.replace(FEW, size=2, noise=0.0)):
    parts = [{p.image_yxc.tobytes() for p in recipe.open(split)} for split in SPLITS]
    assert sum(map(len, parts)) == len(set.union(*parts))
    assert all(parts)


@pytest.mark.parametrize("split", SPLITS)
def test_images_are_grey_and_classes_equally_frequent(split):
  recipe = dataclasses.replace(FEW, size=11)
  pictures = recipe.open(split)
  assert len(pictures) == (240 if split == "train" else 60)
  assert np.bincount(pictures.label_n).tolist() == [len(pictures) // 12] * 12
  assert pictures.label_n.dtype == np.int32 and len(recipe.classes()) == 12
  image_yxc, label = pictures[13]
  assert image_yxc.shape == (11, 11, 1) and image_yxc.dtype == np.uint8
  assert label == pictures.label_n[13]
  with pytest.raises(IndexError):
    pictures[len(pictures)]


def test_a_line_covers_its_length_and_round_ends():
  line = (np.array([(0.125, 0.5), (0.875, 0.5)]),)
  share_yx = draw(line, 0.125, 8)
  assert (share_yx[3:5, 1:7] == 1).all()
  assert not share_yx[[0, 1, 2, 5, 6, 7]].any()
  assert share_yx.mean() == pytest.approx(0.75 * 0.25 + np.pi * 0.125**2, abs=0.01)
  upright = draw(tuple(points[:, ::-1] for points in line), 0.125, 8)
  np.testing.assert_array_equal(upright, share_yx.T)


@pytest.mark.parametrize("name", STROKES)
def test_a_shape_is_whole_wherever_it_is(name):
  """Its ink in as many parts as it has, around as many holes, inside the image."""
  rng = np.random.default_rng(0)
  centres, sizes = [], []
  for _ in range(20):
    strokes, half = place(rng, STROKES[name])
    points = np.concatenate(strokes)
    assert half - 1e-9 <= points.min() and points.max() <= 1 - half + 1e-9
    centres.append(points.mean(axis=0))
    sizes.append((points.max(axis=0) - points.min(axis=0)).max())
    ink_yx = draw(strokes, 0.02, 32) > 0
    _, parts = ndimage.label(ink_yx, np.ones((3, 3)))
    ground_yx, _ = ndimage.label(np.pad(~ink_yx, 1, constant_values=True))
    # A sharp angle has specks of ground, of a few pixels.
    holes = (np.bincount(ground_yx.ravel())[2:] > 5).sum()
    assert (parts, holes) == (PARTS.get(name, 1), HOLES.get(name, 0))
  assert np.std(centres, axis=0).min() > 0.03
  assert min(sizes) < 0.6 and max(sizes) > 0.8


def test_the_label_is_that_of_the_drawing():
  """Without noise an image has the strokes of its class."""
  recipe = dataclasses.replace(FEW, size=24, noise=0.0)
  found = recipe.open("train")
  for i, name in enumerate(STROKES):
    rng = np.random.default_rng([recipe.seed, 0, i])
    drawn = []
    for _ in range(8):  # until one falls into train
      drawn.append(255 * draw(*place(rng, STROKES[name]), 24))
      rng.standard_normal((24, 24))
    image_yx = found[i].image_yxc[..., 0]
    assert any(np.abs(image_yx - one).max() <= 1 for one in drawn), name


def test_noise_is_that_of_every_pixel():
  clean, noisy = (
    np.stack([p.image_yxc for p in Shapes(240, 12, noise=noise).open("train")]) / 255
    for noise in (0.0, 0.2)
  )
  black = (clean == 0).mean()
  assert 0.3 < black < 0.9 and set(np.round(16 * clean.ravel(), 1)) <= set(range(17))
  # Half of the noise on black is below zero, and cut off, as is some on grey; 0.19 of
  # it is within half of its deviation above zero.
  assert (noisy == 0).mean() == pytest.approx(0.5 * black, rel=0.15)
  within = (noisy > 0) & (noisy < 0.1)
  assert within.mean() == pytest.approx(0.19 * black, rel=0.2)


def test_the_fingerprint_changes_with_the_images():
  changes = ({}, {"examples": 241}, {"size": 9}, {"noise": 0.1}, {"seed": 1})
  recipes = [dataclasses.replace(FEW, **change) for change in changes]
  found = {recipe.fingerprint(split) for recipe in recipes for split in SPLITS}
  assert len(found) == len(recipes) * len(SPLITS)
  assert FEW.fingerprint("train") == dataclasses.replace(FEW).fingerprint("train")


def test_the_drawing_is_that_of_its_number():
  """Where this fails, the number in `fingerprint` has to change too."""
  text = b"".join(p.image_yxc.tobytes() for p in FEW.open("train"))
  assert hashlib.sha256(text).hexdigest()[:16] == "762bdd34e59274cc"


@pytest.mark.parametrize(
  "changes, message",
  [
    ({"examples": 0}, "Shapes.examples: expected 1 or more, got 0"),
    ({"held_out": 0}, "Shapes.held_out: expected 1 or more, got 0"),
    ({"size": 0}, "Shapes.size: expected 1 or more, got 0"),
    ({"noise": 1.0}, "Shapes.noise: expected 0 to below 1, got 1.0"),
    ({"noise": -0.1}, "Shapes.noise: expected 0 to below 1, got -0.1"),
    ({"seed": -1}, "Shapes.seed: expected 0 or more, got -1"),
  ],
)
def test_fields_out_of_range_are_named(changes, message):
  with pytest.raises(ValueError) as error:
    Shapes(**changes)
  assert str(error.value) == message
  with pytest.raises(ValueError, match="expected one of train, val, test, got 'dev'"):
    Shapes().open("dev")
