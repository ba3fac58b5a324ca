"""Image files of every kind are read as they look, or refused with a reason."""

import threading
import warnings

import numpy as np
import PIL.Image
import pytest

from transformer.data.sources.image_folder import ImageFolder, read_image, warnings_of

RAMP_YX = np.linspace(0, 255, 6 * 5).round().astype(np.uint8).reshape(6, 5)
RGB_YXC = np.stack([RAMP_YX, RAMP_YX[::-1], np.full_like(RAMP_YX, 40)], axis=-1)


def save(array, file, mode=None, **options):
  image = array if isinstance(array, PIL.Image.Image) else PIL.Image.fromarray(array)
  (image.convert(mode) if mode else image).save(file, **options)
  return file


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.ppm"])
def test_16_bits_of_grey_are_scaled(tmp_path, name):
  file = save(RAMP_YX.astype(np.uint16) * 257, tmp_path / name)
  np.testing.assert_array_equal(read_image(file), RAMP_YX[..., None])


def test_white_may_be_zero(tmp_path):
  file = save(RAMP_YX.astype(np.uint16) * 257, tmp_path / "a.tif", tiffinfo={262: 0})
  assert PIL.Image.open(file).tag_v2[262] == 0
  np.testing.assert_array_equal(read_image(file), 255 - RAMP_YX[..., None])


def test_1_bit_is_black_and_white(tmp_path):
  for name in ("a.png", "a.tif", "a.bmp", "a.gif"):
    file = save((RAMP_YX > 99) * np.uint8(255), tmp_path / name, mode="1")
    image_yxc = read_image(file)
    assert {*np.unique(image_yxc)} == {0, 255}, name
    np.testing.assert_array_equal(image_yxc[..., 0] > 0, RAMP_YX > 99)


@pytest.mark.parametrize(
  "array_yx, message",
  [
    (RAMP_YX.astype(np.float32) / 255, "its pixels are floats, of no fixed white"),
    (RAMP_YX.astype(np.int32) * 2**20, "integers of more than 16 bits, of no fixed"),
  ],
)
def test_what_has_no_fixed_white_is_refused(tmp_path, array_yx, message):
  file = save(array_yx, tmp_path / "a.tif")
  with pytest.raises(ValueError, match=rf"a\.tif: not an image .*{message}"):
    read_image(file)


@pytest.mark.parametrize("name", ["a.gif", "a.tif", "a.png", "a.webp"])
def test_several_frames_are_refused(tmp_path, name):
  frames = [PIL.Image.fromarray(RGB_YXC), PIL.Image.fromarray(255 - RGB_YXC)]
  frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
  with pytest.raises(ValueError, match=rf"{name}: not an image .*it has 2 frames"):
    read_image(tmp_path / name)


def test_a_cameras_file_is_its_photograph(tmp_path):
  frames = [PIL.Image.fromarray(np.full((8, 8, 3), n, np.uint8)) for n in (90, 10)]
  frames[0].save(
    tmp_path / "a.jpg", format="MPO", save_all=True, append_images=frames[1:]
  )
  assert PIL.Image.open(tmp_path / "a.jpg").n_frames == 2
  np.testing.assert_allclose(read_image(tmp_path / "a.jpg"), 90, atol=1)


def test_transparent_areas_are_white(tmp_path):
  alpha_yx = np.where(np.arange(5) < 2, 0, 255).astype(np.uint8) + 0 * RAMP_YX
  hidden_yxc = np.concatenate([RGB_YXC, alpha_yx[..., None]], axis=-1)
  shown_yxc = np.where(alpha_yx[..., None] > 0, RGB_YXC, 255)
  for name in ("a.png", "a.tif", "a.webp"):
    options = {"lossless": True, "exact": True} if name == "a.webp" else {}
    file = save(hidden_yxc, tmp_path / name, **options)
    np.testing.assert_array_equal(read_image(file), shown_yxc, err_msg=name)
  grey = save(np.stack([RAMP_YX, alpha_yx], axis=-1), tmp_path / "grey.png")
  shown_yx = np.where(alpha_yx > 0, RAMP_YX, 255)
  np.testing.assert_array_equal(read_image(grey)[..., 0], shown_yx)
  half = save(np.full((2, 2, 4), (0, 0, 0, 128), np.uint8), tmp_path / "half.png")
  assert {*np.unique(read_image(half))} == {127}


def test_one_colour_may_be_the_transparent_one(tmp_path):
  expected_yx = np.where(RAMP_YX == 0, 255, RAMP_YX)
  for array in (RAMP_YX, RAMP_YX.astype(np.uint16) * 257):
    file = save(array, tmp_path / "a.png", transparency=0)
    np.testing.assert_array_equal(read_image(file)[..., 0], expected_yx)
  palette = PIL.Image.fromarray(RGB_YXC).quantize(8)
  whole = read_image(save(palette, tmp_path / "p.png"))
  file = save(palette, tmp_path / "a.gif", transparency=int(np.asarray(palette)[0, 0]))
  hidden_yx = np.asarray(palette) == np.asarray(palette)[0, 0]
  expected_yxc = np.where(hidden_yx[..., None], 255, whole)
  np.testing.assert_array_equal(read_image(file), expected_yxc)


@pytest.mark.parametrize("bits", [8, 16])
def test_the_cameras_orientation_counts(tmp_path, bits):
  exif = PIL.Image.Exif()
  exif[274] = 6  # the camera was turned: rows are columns, from the right
  array_yx = RAMP_YX if bits == 8 else RAMP_YX.astype(np.uint16) * 257
  file = save(array_yx, tmp_path / "a.png", exif=exif)
  np.testing.assert_array_equal(read_image(file)[..., 0], np.rot90(RAMP_YX, -1))


def test_other_colour_models_look_the_same(tmp_path):
  plain = PIL.Image.fromarray(np.full((8, 8, 3), (200, 80, 40), np.uint8))
  for mode in ("CMYK", "YCbCr"):
    file = save(plain, tmp_path / "a.jpg", mode=mode, quality=95)
    assert np.abs(read_image(file).astype(int) - np.asarray(plain)).max() < 4


def test_a_bad_file_is_named_whatever_is_wrong_with_it(tmp_path):
  good = save(RGB_YXC, tmp_path / "good.png").read_bytes()
  draw = np.random.default_rng(0)
  bad = [b"", b"text", good[:40], good[:-20]]
  for _ in range(60):
    data = bytearray(good)
    for i in draw.integers(8, len(good), size=4):
      data[i] = draw.integers(256)
    bad.append(bytes(data))
  refused = 0
  for data in bad:
    (tmp_path / "bad.png").write_bytes(data)
    try:
      read_image(tmp_path / "bad.png")
    except ValueError as error:
      refused += 1
      assert str(error).startswith(f"{tmp_path / 'bad.png'}: not an image that can be")
      assert "BytesIO" not in str(error) and "\n" not in str(error)
  assert refused > 30


def test_hidden_files_and_directories_are_left_out(tmp_path):
  for folder in ("cat", "dog", ".ipynb_checkpoints", ".git"):
    (tmp_path / folder).mkdir()
    for i in range(40):
      save(RGB_YXC, tmp_path / folder / f"{i}.png")
    (tmp_path / folder / "._0.png").write_bytes(b"a resource fork")
  data = ImageFolder(str(tmp_path))
  assert data.classes() == ("cat", "dog")
  pictures = [data.open(split) for split in ("train", "val", "test")]
  assert sum(map(len, pictures)) == 80
  assert all(image_yxc.shape == (6, 5, 3) for p in pictures for image_yxc, _ in p)


def test_a_held_out_directory_that_is_no_class_is_named(tmp_path):
  for folder in ("train/cat", "train/dog", "val/cat", "val/Dog", "val/.git"):
    (tmp_path / folder).mkdir(parents=True)
    save(RGB_YXC, tmp_path / folder / "a.png")
  data = ImageFolder(str(tmp_path))
  assert len(data.open("train")) == 2
  for split in ("val", "test"):
    with pytest.raises(ValueError, match=r"val: no class of .*train is called Dog;"):
      data.open(split)
  (tmp_path / "val" / "Dog").rename(tmp_path / "val" / "dog")
  assert len(data.open("val")) == 2


def test_one_thread_at_a_time_catches_warnings(tmp_path):
  file, done = save(RGB_YXC, tmp_path / "a.png"), threading.Event()
  thread = threading.Thread(target=lambda: (read_image(file), done.set()))
  before = list(warnings.filters)
  with warnings_of("another", PIL.Image):
    thread.start()
    assert not done.wait(0.3)
  thread.join(60)
  assert done.is_set() and warnings.filters == before
