"""The attention of a model on one input, as arrays."""

import functools
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from transformer.inspection.inputs import ModelInputs, Opened, read_input
from transformer.inspection.rollout import decoder_rollout, self_rollout
from transformer.layers.attention import AttentionIntermediates
from transformer.models.base import Attends, Attentions
from transformer.models.blocks import Stack
from transformer.runs.classifier import Classifier
from transformer.runs.run import Run
from transformer.runs.translator import Translator


class AttentionMap(NamedTuple):
  """One attention of a model in all of its layers and heads, in float32.

  Attributes:
    name: as in the model, `decoder/source_attention`.
    queries: the tokens that attend, `t` of them; of a decoder, those that it writes.
    keys: the tokens that are attended to, `s` of them.
    weights_lhts: the attention weights; every row sums to one.
    mean_lts: their mean over the heads of a layer.
    rollout_lts: their rollout (`inspection.rollout`); None where it is not defined.
    q_lthk, k_lshk: queries and keys; None where the score is not their product.
    bias_lhts: position bias, added to the scores; None for no bias.
    scale: the factor of the product in the score.
  """

  name: str
  queries: tuple[str, ...]
  keys: tuple[str, ...]
  weights_lhts: np.ndarray
  mean_lts: np.ndarray
  rollout_lts: np.ndarray | None = None
  q_lthk: np.ndarray | None = None
  k_lshk: np.ndarray | None = None
  bias_lhts: np.ndarray | None = None
  scale: float = 1.0

  @property
  def arrays(self) -> dict[str, np.ndarray]:
    """The arrays that there are, by name."""
    fields = self._asdict().items()
    return {name: value for name, value in fields if isinstance(value, np.ndarray)}

  @property
  def title(self) -> str:
    """The name for a reader: `Decoder source attention`."""
    return self.name.replace("_", " ").replace("/", " ").capitalize()


class Attention(NamedTuple):
  """What a model attends to while it reads an input.

  Attributes:
    run: the name of the run's directory.
    model: the name of the model.
    text: the input; for an image, the name of its file.
    output: the translation or the prediction; empty where there is none.
    maps: one for every attention of the model.
    image_yxc: the image as the model reads it; None for a text.
  """

  run: str
  model: str
  text: str
  output: str
  maps: tuple[AttentionMap, ...]
  image_yxc: np.ndarray | None = None

  def map(self, name: str | None = None) -> AttentionMap:
    """The attention of a name; by default that to the source where there is one.

    Raises:
      ValueError: there is none of this name.
    """
    names = [each.name for each in self.maps]
    if name is None:
      name = next((each for each in names if "source" in each), names[0])
    if name not in names:
      raise ValueError(
        f"--attention: {self.model} has no {name!r}; there are: {', '.join(names)}"
      )
    return self.maps[names.index(name)]


def attention_of(
  opened: Run | Translator | Classifier | Opened,
  text: str,
  reference: str | None = None,
) -> Attention:
  """The attention of a run's model on one input.

  Args:
    opened: the run. A `Translator` also says how the translation is searched for.
    text: a text, or the path of an image file for a model of images. A story and a
      question for one that answers questions.
    reference: a translation to show in place of the model's own.

  Raises:
    ValueError: the model has no attention, or the input does not fit its task.
    OSError: an image cannot be read.
  """
  opened = Opened.of(opened)
  run = opened.run
  module, model = run.module(), run.config.model
  if not isinstance(module, Attends):
    raise ValueError(f"{run.path}: {type(model).__name__} has no attention to show")
  inputs = read_input(run.config.task, opened, text, reference)
  found = jax.tree.map(np.asarray, attention(module, opened.params, inputs.batch))
  scale = None
  if isinstance(model, Stack):
    scale = model.score.scale(model.key_width)
  maps = [attention_map(name, each, inputs, scale) for name, each in found.items()]
  shown = text if inputs.image_yxc is None else Path(text).name
  return Attention(
    run.path.resolve().name, type(model).__name__, shown, inputs.output,
    tuple(with_rollout({each.name: each for each in maps})), inputs.image_yxc,
  )  # fmt: skip


@functools.partial(jax.jit, static_argnames="module")
def attention(module, params, batch) -> Attentions:
  """What a model's attention computes on a batch."""
  return module.apply({"params": params}, batch, method="attention")


def attention_map(
  name: str,
  intermediates: AttentionIntermediates,
  inputs: ModelInputs,
  scale: float | None,
) -> AttentionMap:
  """One attention of a batch of one row, without padding."""
  if name.startswith("encoder"):
    queries, keys = inputs.source, inputs.source
  elif name == "decoder/self_attention":
    queries, keys = inputs.target, inputs.target_read
  else:
    queries, keys = inputs.target, inputs.source
  t, s = len(queries), len(keys)
  weights_lbhts, q_lbthk, k_lbshk, bias_lbhts = intermediates
  if bias_lbhts is not None:
    # A bias that all rows of a batch, queries or keys share has sizes of 1.
    bias_lbhts = np.broadcast_to(bias_lbhts, weights_lbhts.shape)
  weights_lhts = np.asarray(weights_lbhts[:, 0, :, :t, :s], np.float32)

  def of_row(x, *sizes: int | None):
    if x is None:
      return None
    return np.asarray(x[(slice(None), 0, *map(slice, sizes))], np.float32)

  return AttentionMap(
    name, queries, keys, weights_lhts, weights_lhts.mean(axis=1),
    q_lthk=of_row(q_lbthk, t),
    k_lshk=of_row(k_lbshk, s),
    bias_lhts=of_row(bias_lbhts, None, t, s),
    scale=scale or 1.0,
  )  # fmt: skip


def with_rollout(maps: dict[str, AttentionMap]) -> list[AttentionMap]:
  """The maps with their rollouts: of self-attention, and of a decoder whose encoder has
  self-attention too."""
  names = ("encoder/self_attention", "decoder/self_attention")
  if all(name in maps for name in (*names, "decoder/source_attention")):
    encoder_lsu = self_rollout(maps[names[0]].weights_lhts)
    source = maps["decoder/source_attention"]
    rollouts = decoder_rollout(
      maps[names[1]].weights_lhts, source.weights_lhts, encoder_lsu[-1]
    )
    found = dict(zip((*names, source.name), (encoder_lsu, *rollouts), strict=True))
  else:
    found = {
      name: self_rollout(each.weights_lhts)
      for name, each in maps.items()
      if name.endswith("self_attention")
    }
  return [
    each._replace(rollout_lts=found[name].astype(np.float32)) if name in found else each
    for name, each in maps.items()
  ]
