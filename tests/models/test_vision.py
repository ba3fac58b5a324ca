"""Models of images: equal to independent ones, and the same alone as in a batch."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from tests.models.test_transformer import quick
from tests.oracles import images as oracle
from transformer import config as configs
from transformer import tree
from transformer.batch import Images
from transformer.layers.images import ClassToken, Patches, PixelNorm, max_pool
from transformer.layers.norms import BatchNorm
from transformer.layers.positions import Learned
from transformer.models.resnet import (
  Block,
  Bottleneck,
  ResidualBlock,
  ResNet,
  Shrinking,
  Stem,
)
from transformer.models.vit import DistilledVisionTransformer, VisionTransformer
from transformer.tasks.image_classification import ImageClassification

V = 5
VIT = VisionTransformer(
  layers=2, d_model=16, d_ff=24, heads=4, d_k=8, d_v=6, dropout=0.0, patch=3,
  channels=3, position=Learned(length=9),
)  # fmt: skip
DEIT = DistilledVisionTransformer(
  layers=2, d_model=16, d_ff=24, heads=4, d_k=8, d_v=6, dropout=0.0, patch=3,
  channels=3, position=Learned(length=10),
  pixels=PixelNorm((0.4, 0.5, 0.6), (0.2, 0.3, 0.1)),
)  # fmt: skip
RESNET = ResNet(stages=(2, 1), base_channels=8, block=Block(), stem=Stem())


def variants():
  """Both models, and every other norm, block and stem; what else an encoder can have is
  in test_seq2seq."""
  for model in (VIT, DEIT, RESNET):
    yield pytest.param(model, id=type(model).__name__)
    for field, family in configs.annotations(type(model)).items():
      if field in ("norm", "block", "stem") and model is not DEIT:
        for name, member in configs.members(family).items():
          if member is not type(getattr(model, field)):
            changed = dataclasses.replace(model, **{field: member()})
            yield pytest.param(changed, id=f"{type(model).__name__}-{field}-{name}")


MODELS = pytest.mark.parametrize(
  "model", [VIT, DEIT, RESNET], ids=["ViT", "DeiT", "ResNet"]
)


def images(rows, size=(6, 12), empty=0, seed=0):
  """So many images, then so many empty rows."""
  rng = np.random.default_rng(seed)
  image_byxc = rng.integers(0, 256, (rows + empty, *size, 3)).astype(np.uint8)
  label_b = rng.integers(0, V, rows + empty).astype(np.int32)
  real_b = (np.arange(rows + empty) < rows).astype(np.int32)
  return Images(image_byxc, label_b, real_b)


def filled(shapes, seed=0):
  """Random parameters; scales and variances away from zero."""
  rng = np.random.default_rng(seed)

  def fill(path, leaf):
    centre = 1.0 if path[-1].key in ("scale", "variance") else 0.0
    return jnp.asarray(centre + 0.2 * rng.normal(size=leaf.shape), leaf.dtype)

  return jax.tree_util.tree_map_with_path(fill, nn.unbox(shapes)["params"])


@functools.cache
def params(model):
  init = model.module(V).init
  return filled(jax.eval_shape(init, jax.random.key(0), model.example()))


@functools.cache
def compiled(model):
  return quick(model.module(V).apply)


def logits(model, batch):
  return np.asarray(compiled(model)({"params": params(model)}, batch))


def plain(tree):
  return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


def test_patches_are_the_oracles():
  batch = images(2)
  x_byxc = batch.image_byxc.astype(np.float32)

  class Front(nn.Module):
    @nn.compact
    def __call__(self, x_byxc):
      x_btd = ClassToken(name="token")(Patches(3, 16, name="patches")(x_byxc))
      pos_bt = jnp.broadcast_to(jnp.arange(9), x_btd.shape[:2])
      return Learned(length=9).embed(self, x_btd, pos_bt)

  weights = filled(jax.eval_shape(Front().init, jax.random.key(0), x_byxc))
  found = Front().apply({"params": weights}, x_byxc)
  weights = plain(weights)
  for image_yxc, row in zip(x_byxc, found, strict=True):
    wanted = oracle.patch_tokens(
      image_yxc, 3, weights["patches"]["w"], weights["patches"]["w_bias"],
      weights["token"]["token"], weights["position"],
    )  # fmt: skip
    np.testing.assert_allclose(row, wanted, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("block", [Block(), Bottleneck()], ids=["plain", "bottleneck"])
@pytest.mark.parametrize("inputs, stride", [(8, 1), (32, 1), (6, 2)])
def test_a_residual_block_is_the_oracles(block, inputs, stride):
  rng = np.random.default_rng(1)
  x_byxd = rng.normal(size=(2, 5, 7, inputs)).astype(np.float32)
  module = ResidualBlock(dataclasses.replace(RESNET, block=block), 8, stride)
  real_b = np.ones(2, np.int32)
  shapes = jax.eval_shape(
    functools.partial(module.init, train=False), jax.random.key(0), x_byxd, real_b
  )
  weights = filled(shapes)
  found = module.apply({"params": weights}, x_byxd, real_b, False)
  layers = {
    name: {**layer, **layer.pop("convolution")}
    for name, layer in plain(weights).items()
  }
  assert ("third" in layers) == isinstance(block, Bottleneck)
  for image_yxd, row in zip(x_byxd, found, strict=True):
    wanted = oracle.residual_block(layers, image_yxd, stride, BatchNorm().epsilon)
    np.testing.assert_allclose(row, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size, stride", [(3, 2), (2, 2), (5, 3)])
def test_max_pool_is_the_oracles(size, stride):
  x_byxd = np.random.default_rng(2).normal(size=(2, 6, 7, 4)).astype(np.float32) - 3.0
  for image_yxd, row in zip(x_byxd, max_pool(x_byxd, size, stride), strict=True):
    np.testing.assert_array_equal(row, oracle.max_pool(image_yxd, size, stride))


@pytest.mark.parametrize(
  "model, size, parameters",
  [
    (ResNet(), 224, 25_557_032),
    (ResNet(stages=(2, 2, 2, 2), block=Block()), 224, 11_689_512),
    # 86,567,656 of Table 1's ViT-B/16, but for the biases of its attention.
    (VisionTransformer(), 224, 86_567_656 - 12 * 4 * 768),
  ],
)
def test_published_sizes(model, size, parameters):
  image_byxc = np.zeros((1, size, size, 3), np.uint8)
  batch = model.example()._replace(image_byxc=image_byxc)
  made = jax.eval_shape(model.module(1000).init, jax.random.key(0), batch)
  batch_stats = made.get("batch_stats", {})
  assert tree.size(tree.divide(made["params"], batch_stats)[0]) == parameters
  least = jax.eval_shape(model.module(1000).init, jax.random.key(0), model.example())
  assert jax.tree.map(jnp.shape, least["params"]) == jax.tree.map(
    jnp.shape, made["params"]
  )


@pytest.mark.parametrize("model", variants())
def test_shape_and_finite_gradient(model):
  batch, task = images(4, empty=2), ImageClassification(size=6)

  def loss(params):
    sums, _ = task.loss(model.module(V), params, batch, jax.random.key(1))
    return sums.total / sums.count

  assert logits(model, batch).shape == (6, V)
  assert logits(model, batch).dtype == np.float32
  gradient = quick(jax.grad(loss))(params(model))
  for path, leaf in tree.paths(gradient).items():
    batch_stats = path.endswith(("/mean", "/variance"))
    assert np.all(np.isfinite(leaf)), path
    assert batch_stats or np.any(leaf != 0), path


@pytest.mark.parametrize("model", variants())
def test_company_and_empty_rows_change_no_answer(model):
  batch = images(3)
  alone = logits(model, jax.tree.map(lambda leaf: leaf[1:2], batch))[0]
  other = images(3, seed=3)
  batched = jax.tree.map(
    lambda one, two: np.concatenate([two, one, one[:1] * 0]), batch, other
  )
  scale = np.abs(alone).max()
  np.testing.assert_allclose(logits(model, batch)[1], alone, atol=1e-5 * scale)
  np.testing.assert_allclose(logits(model, batched)[4], alone, atol=1e-5 * scale)
  assert np.abs(logits(model, batched)[1] - alone).max() > 1e-3


def test_a_distillation_token_comes_after_the_class_token_and_has_a_head():
  batch, own = images(2), params(DEIT)
  both = logits(DEIT, batch)
  # Exchanging the two tokens, with their positions and heads, changes nothing.
  table_td = own["encoder"]["position_encoding"]["position"]
  swapped = {"position": table_td[np.array([1, 0, *range(2, 10)])]}
  exchanged = {
    **own,
    "token": own["distillation_token"],
    "distillation_token": own["token"],
    "head": own["distillation_head"],
    "distillation_head": own["head"],
    "encoder": {**own["encoder"], "position_encoding": swapped},
  }
  found = DEIT.module(V).apply({"params": exchanged}, batch)
  np.testing.assert_allclose(found, both, atol=1e-5)
  # The mean of two heads, each alone: the model without the distillation head.
  alone = dataclasses.replace(DEIT, distillation_head=False).module(V)
  halves = []
  for given in (own, exchanged):
    bare = {name: leaf for name, leaf in given.items() if name != "distillation_head"}
    halves.append(alone.apply({"params": bare}, batch))
  np.testing.assert_allclose((halves[0] + halves[1]) / 2, both, atol=1e-5)
  assert np.abs(halves[0] - halves[1]).max() > 1e-3


def test_pixels_are_normalised_by_channel():
  image = images(1).image_byxc
  norm = PixelNorm((0.4, 0.5, 0.6), (0.2, 0.3, 0.1))
  for c, (mean, deviation) in enumerate(zip(norm.mean, norm.deviation, strict=True)):
    expected = (image[..., c] / 255.0 - mean) / deviation
    found = norm(image, 3, jnp.float32)[..., c]
    np.testing.assert_allclose(found, expected, atol=1e-5)
  plain = image.astype(np.float32) / 127.5 - 1.0
  np.testing.assert_allclose(PixelNorm()(image, 3, jnp.float32), plain, atol=2e-7)
  with pytest.raises(ValueError, match=r"model\.pixels: expected 1 or 3 means"):
    PixelNorm((0.5, 0.5), (0.5, 0.5))(image, 3, jnp.float32)
  with pytest.raises(ValueError, match="deviation: expected more than 0, got 0"):
    PixelNorm((0.5,), (0.0,))
  with pytest.raises(ValueError, match="as many means as deviations"):
    PixelNorm((0.5,), (0.5, 0.5))


@MODELS
def test_empty_rows_have_no_part_in_the_loss(model):
  task, module = ImageClassification(size=6), model.module(V)
  batch = images(4)
  padded = jax.tree.map(
    lambda leaf: np.concatenate([leaf, np.full_like(leaf[:2], 0)]), batch
  )

  @quick
  def step(batch):
    def loss(params):
      return task.loss(module, params, batch, jax.random.key(0))

    model_loss, gradient = jax.value_and_grad(lambda p: loss(p)[0].total)(params(model))
    return model_loss, loss(params(model))[0].count, gradient, loss(params(model))[1]

  (one, count, gradient, batch_stats), other = step(batch), step(padded)
  assert count == other[1] == 4
  np.testing.assert_allclose(one, other[0], rtol=1e-5)
  for path, leaf in tree.paths((gradient, batch_stats)).items():
    np.testing.assert_allclose(
      leaf, tree.paths((other[2], other[3]))[path], atol=2e-5, err_msg=path
    )


@MODELS
def test_every_pixel_is_read(model):
  batch = images(1)
  whole = logits(model, batch)
  for place in np.ndindex(6, 12, 3):
    other = batch.image_byxc.copy()
    other[0, *place] ^= 128
    assert np.abs(logits(model, batch._replace(image_byxc=other)) - whole).max() > 1e-6


@MODELS
def test_in_bfloat16_it_is_near_float32(model):
  batch = images(3)
  found = model.module(V, jnp.bfloat16).apply({"params": params(model)}, batch)
  exact = logits(model, batch)
  assert found.dtype == jnp.float32
  assert 0.0 < np.abs(found - exact).max() < 0.1 * np.abs(exact).max()


def test_images_that_do_not_fit_are_refused():
  def read(model, batch):
    jax.eval_shape(model.module(V).init, jax.random.key(0), batch)

  with pytest.raises(
    ValueError,
    match=r"model\.patch: expected a divisor of the image size 6 x 10, got 3",
  ):
    read(VIT, images(2, (6, 10)))
  for model in (VIT, RESNET):
    with pytest.raises(
      ValueError, match=r"model\.channels: expected 3, as in the images, got 1"
    ):
      read(dataclasses.replace(model, channels=1), images(2))


@pytest.mark.parametrize(
  "model, change",
  [
    (VIT, dict(patch=0)),
    (VIT, dict(layers=0)),
    (VIT, dict(channels=0)),
    (RESNET, dict(stages=())),
    (RESNET, dict(stages=(1, 0))),
    (RESNET, dict(base_channels=0)),
  ],
)
def test_impossible_sizes_are_refused(model, change):
  with pytest.raises(ValueError, match=rf"model\.{next(iter(change))}"):
    dataclasses.replace(model, **change)


def test_the_stem_of_imagenet_shrinks_by_four():
  model = dataclasses.replace(RESNET, stem=Shrinking(), stages=(1,))
  seen = {}

  def watch(call, args, kwargs, context):
    y = call(*args, **kwargs)
    seen[context.module.name] = np.shape(y)
    return y

  with nn.intercept_methods(watch):
    model.module(V).apply({"params": params(model)}, images(2, (12, 20)))
  assert seen["stem"] == (2, 6, 10, 8) and seen["0_0"] == (2, 3, 5, 8)
