"""ViT (Dosovitskiy et al. 2021) and DeiT (Touvron et al. 2021) as classifiers of
images."""

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from transformer.batch import Images
from transformer.data.batching import Rows
from transformer.data.id_order import IdOrder
from transformer.data.sources.image_folder import ImageFolder
from transformer.experiment import Config
from transformer.interop.class_names import class_names
from transformer.interop.family import Family, Origin, activation
from transformer.interop.hf_directory import HFDirectory
from transformer.interop.image_processor import ImageProcessor, read_image_processor
from transformer.interop.tensor_map import (
  Entry,
  Layout,
  Linear,
  TensorMap,
  linear_map,
  norm,
)
from transformer.layers.norms import LayerNorm
from transformer.layers.positions import Learned
from transformer.layers.residual import PreNorm
from transformer.models.vit import DistilledVisionTransformer, VisionTransformer
from transformer.tasks.image_classification import ImageClassification
from transformer.training.schedules import Schedule

LAYER = (
  ("attention.attention.query", "self_attention/q", 1),
  ("attention.attention.key", "self_key_value/k", 1),
  ("attention.attention.value", "self_key_value/v", 1),
  ("attention.output.dense", "self_attention/o", 2),
  ("intermediate.dense", "feed_forward/w1", 1),
  ("output.dense", "feed_forward/w2", 1),
)
"""The linear maps of a layer, theirs and ours, and the number of axes of our inputs."""

NORMS = (
  ("layernorm_before", "self_sublayer"),
  ("layernorm_after", "feed_forward_sublayer"),
)


@dataclasses.dataclass(frozen=True)
class PatchKernel(Layout):
  """The kernel `[d, c, p, p]` of a convolution that does not overlap, which here is a
  matrix of the pixels of a patch, row by row.

  Attributes:
    patch: pixels a side.
  """

  patch: int

  def shape(self, param):
    inputs, d = param
    return d, inputs // self.patch**2, self.patch, self.patch

  def to_param(self, tensor, param):
    return tensor.transpose(2, 3, 1, 0).reshape(param)

  def to_tensor(self, param):
    d, channels, rows, columns = self.shape(param.shape)
    return param.reshape(rows, columns, channels, d).transpose(3, 2, 0, 1)


@dataclasses.dataclass(frozen=True)
class OneRow(Layout):
  """A parameter with axes of size 1 before its own, three in all."""

  def shape(self, param):
    return (1,) * (3 - len(param)) + param


@dataclasses.dataclass(frozen=True)
class ViT(Family):
  """The class is read at the class token."""

  architectures = ("ViTForImageClassification",)
  prefix: ClassVar[str] = "vit."
  kind: ClassVar[type[VisionTransformer]] = VisionTransformer
  heads: ClassVar[tuple[tuple[str, str], ...]] = (("classifier", "head"),)
  tokens: ClassVar[tuple[tuple[str, str], ...]] = (("cls_token", "token"),)
  """Learned tokens before the patches, and linear maps to the classes, theirs and
  ours."""

  def order(self, origin: Origin) -> IdOrder:
    return IdOrder(tuple(range(len(class_names(origin.config)))))

  def processor(self, origin: Origin) -> ImageProcessor:
    """How images are read.

    Raises:
      ValueError: the settings are wrong, not covered, or of another model.
    """
    channels = origin.size("num_channels", 3)
    processor = read_image_processor(origin.preprocessor, channels)
    size = origin.size("image_size", 224)
    if processor.size != size:
      raise ValueError(
        f"preprocessor_config.json: images of {processor.size} pixels a side, but "
        f"config.json: image_size: {size}; they are of two models"
      )
    return processor

  def model(self, origin: Origin, order: IdOrder) -> VisionTransformer:
    origin.expect(qkv_bias=True)
    patch, size = origin.size("patch_size", 16), origin.size("image_size", 224)
    if size % patch:
      raise ValueError(
        f"config.json: patch_size: {patch} does not divide image_size {size}, which is "
        "not covered"
      )
    feed_forward = activation(origin, "hidden_act", "gelu")
    dropout = origin.get("hidden_dropout_prob", float, 0.0)
    return self.kind(
      layers=origin.size("num_hidden_layers"),
      d_model=origin.size("hidden_size"),
      d_ff=origin.size("intermediate_size"),
      heads=origin.size("num_attention_heads"),
      dropout=dropout,
      attention_dropout=origin.get("attention_probs_dropout_prob", float, 0.0),
      position=Learned((size // patch) ** 2 + len(self.tokens)),
      norm=LayerNorm(epsilon=origin.get("layer_norm_eps", float, 1e-12)),
      residual=PreNorm(),
      feed_forward=feed_forward,
      biases=True,
      patch=patch,
      channels=origin.size("num_channels", 3),
      pixels=self.processor(origin).pixels(),
      **self.own_settings(),
    )

  def own_settings(self) -> dict[str, Any]:
    """Settings that only this form has."""
    return {}

  def tensor_map(self, origin: Origin, model: Any, order: IdOrder) -> TensorMap:
    return TensorMap(tuple(self._entries(model)))

  def _entries(self, model: VisionTransformer) -> Iterator[Entry]:
    embeddings = f"{self.prefix}embeddings"
    for theirs, ours in self.tokens:
      yield Entry(f"{embeddings}.{theirs}", (f"{ours}/token",), OneRow())
    yield Entry(
      f"{embeddings}.position_embeddings", ("encoder/position_encoding/position",),
      OneRow(),
    )  # fmt: skip
    projection = f"{embeddings}.patch_embeddings.projection"
    yield from linear_map(projection, "patches/w", PatchKernel(model.patch))
    for i in range(model.layers):
      start = f"{self.prefix}encoder.layer.{i}"
      for theirs, ours, inputs in LAYER:
        path = f"encoder/layers/{ours}"
        yield from linear_map(f"{start}.{theirs}", path, Linear(inputs), i)
      for theirs, ours in NORMS:
        yield from norm(f"{start}.{theirs}", f"encoder/layers/{ours}", i)
    yield from norm(f"{self.prefix}layernorm", "encoder/final_norm")
    for theirs, ours in self.heads:
      yield from linear_map(theirs, f"{ours}/w", Linear())

  def experiment(self, origin: Origin, model: Any, order: IdOrder) -> Config:
    processor = self.processor(origin)
    return Config(
      data=ImageFolder("images"),
      model=model,
      task=ImageClassification(
        size=processor.size, channels=model.channels, resize=processor.resize
      ),
      batching=Rows(),
      schedule=Schedule(1e-5),
      metric="accuracy",
    )

  def random_batch(self, model: Any, order: IdOrder, seed: int) -> Images:
    size = round((model.position.length - len(self.tokens)) ** 0.5) * model.patch
    shape = 3, size, size, model.channels
    image_byxc = np.random.default_rng(seed).integers(256, size=shape, dtype=np.uint8)
    return Images(image_byxc, np.zeros(3, np.int32), np.ones(3, np.int32))

  def torch_outputs(self, torch_model, batch: Images, order: IdOrder) -> np.ndarray:
    import torch

    settings = HFDirectory(torch_model.name_or_path).preprocessor
    processor = read_image_processor(settings, batch.image_byxc.shape[-1])
    x_bcyx = processor.normalise(batch.image_byxc).transpose(0, 3, 1, 2)
    with torch.no_grad():
      return torch_model(torch.from_numpy(np.ascontiguousarray(x_bcyx))).logits.numpy()


@dataclasses.dataclass(frozen=True)
class DeiT(ViT):
  """A distillation token after the class token, from which the class is read alone."""

  architectures = ("DeiTForImageClassification",)
  prefix = "deit."
  kind = DistilledVisionTransformer
  tokens = (*ViT.tokens, ("distillation_token", "distillation_token"))

  def own_settings(self):
    return {"distillation_head": False}


@dataclasses.dataclass(frozen=True)
class DeiTWithTeacher(DeiT):
  """A head for each of the two tokens; the logits are their mean."""

  architectures = ("DeiTForImageClassificationWithTeacher",)
  heads = (
    ("cls_classifier", "head"),
    ("distillation_classifier", "distillation_head"),
  )

  def own_settings(self):
    return {"distillation_head": True}
