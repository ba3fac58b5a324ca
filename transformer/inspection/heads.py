"""What each attention head is worth, and how it attends (Michel et al. 2019)."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from transformer import tree
from transformer.inspection.attention import Attention, attention_of
from transformer.inspection.head_scores import Scorer, Scores
from transformer.inspection.inputs import Opened, UnsuitableText
from transformer.runs.classifier import Classifier
from transformer.runs.run import Run
from transformer.runs.translator import Translator
from transformer.tasks.translation import Translation

EXAMPLES = 32
"""Examples over which entropy and distance are means."""

USUAL = ("exact_match", "bleu", "accuracy")
"""Scores that are shown of a task that has them."""

CHARACTERS = 60
"""Of an example that is a document of any length."""


class Head(NamedTuple):
  """An attention head.

  Attributes:
    attention: as in the model, `decoder/source_attention`.
    layer, head: from 1.
    scores: of the model without this head.
    change: `scores` minus those of the whole model.
    entropy: of its weights in nats, the mean over queries; from 0, where each query
      attends to one key, to log s. None where the task has no texts to read.
    distance: in tokens from a query to what it attends to, |t - s| weighted by
      attention, the mean over queries; to the source, both counted from the beginning.
  """

  attention: str
  layer: int
  head: int
  scores: Scores
  change: Scores
  entropy: float | None
  distance: float | None


class Heads(NamedTuple):
  """All heads of a model.

  Attributes:
    run: the name of the run's directory.
    split: the held-out data.
    metric: the score by which the run keeps checkpoints.
    scores: of the whole model.
    heads: by attention, layer and head.
  """

  run: str
  split: str
  metric: str
  scores: Scores
  heads: tuple[Head, ...]

  @property
  def metrics(self) -> list[str]:
    """The scores to show: the loss, the run's own, and the most usual ones."""
    names = dict.fromkeys(("loss", self.metric, *USUAL))
    return [name for name in names if name in self.scores]


def heads_of(
  opened: Run | Translator | Classifier | Opened,
  split: str = "val",
  limit: int | None = None,
  progress=None,
) -> Heads:
  """The held-out scores of a run with each of its heads masked in turn.

  A masked head adds nothing to the output of its attention: its part of W^O is zero.

  Args:
    opened: the run.
    split: of the run's data.
    limit: of examples, for translations; None for all.
    progress: if not None, called with 1 for every head.

  Raises:
    ValueError: the model has no heads, the split does not exist, or the task takes no
      limit.
  """
  opened = Opened.of(opened)
  run, params = opened.run, opened.params
  outputs = output_weights(run)
  if not outputs:
    model = type(run.config.model).__name__
    raise ValueError(f"{run.path}: {model} has no attention heads to mask")
  scorer = Scorer(opened, split, limit)
  whole = scorer(params)
  entropies, distances = mean_shapes(opened, split)
  found = []
  for name, path in sorted(outputs.items()):
    layers, heads = tree.paths(params)[path].shape[:2]
    for layer, head in np.ndindex(layers, heads):
      without = scorer(mask_head(params, path.split("/"), layer, head))
      change = {metric: without[metric] - whole[metric] for metric in whole}
      entropy, distance = (
        float(means[name][layer, head]) if name in means else None
        for means in (entropies, distances)
      )
      found.append(Head(name, layer + 1, head + 1, without, change, entropy, distance))
      if progress is not None:
        progress(1)
  return Heads(run.path.resolve().name, split, run.config.metric, whole, tuple(found))


def count_heads(run: Run) -> int:
  """The heads of a run's model in all of its attentions and layers."""
  shapes = tree.paths(run.abstract_params())
  return sum(int(np.prod(shapes[x].shape[:2])) for x in output_weights(run).values())


def output_weights(run: Run) -> dict[str, str]:
  """The path of W^O, `[l, h, k, d]`, of every attention with heads, by the name of the
  attention: the weights that sum over the channels of heads."""
  boxed = jax.tree.map(
    lambda box: box.inputs, run.boxed_params(), is_leaf=lambda x: hasattr(x, "inputs")
  )
  return {
    path.replace("layers/", "").removesuffix("/o"): path
    for path, inputs in tree.paths(boxed).items()
    if inputs == "hk"
  }


def mask_head(params: Any, path: Sequence[str], layer: int, head: int) -> Any:
  """Parameters in which a head's part of W^O, at `path`, is zero; the others are the
  same arrays."""
  name, *further = path
  if further:
    return {**params, name: mask_head(params[name], further, layer, head)}
  return {**params, name: params[name].at[layer, head].set(0.0)}


Means = dict[str, np.ndarray]
"""By the name of an attention, `[l, h]`."""


def mean_shapes(opened: Opened, split: str) -> tuple[Means, Means]:
  """Entropy and distance of every head, means over the queries of some held-out
  examples; empty where the task has no texts to read."""
  sums: dict[str, np.ndarray] = {}
  counts: dict[str, int] = {}
  for found in attentions(opened, split):
    for each in found.maps:
      entropy_lht, distance_lht = shapes(each.weights_lhts)
      both_lh2 = np.stack([entropy_lht.sum(-1), distance_lht.sum(-1)], axis=-1)
      sums[each.name] = sums.get(each.name, 0.0) + both_lh2
      counts[each.name] = counts.get(each.name, 0) + len(each.queries)
  means = {name: both_lh2 / counts[name] for name, both_lh2 in sums.items()}
  entropies = {name: both_lh2[..., 0] for name, both_lh2 in means.items()}
  return entropies, {name: both_lh2[..., 1] for name, both_lh2 in means.items()}


def shapes(weights_lhts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """The entropy in nats and the mean distance in tokens of every query, `[l, h, t]`."""
  t, s = weights_lhts.shape[-2:]
  tiny = np.finfo(np.float32).tiny
  entropy_lht = -(weights_lhts * np.log(np.maximum(weights_lhts, tiny))).sum(axis=-1)
  distance_ts = np.abs(np.arange(t)[:, None] - np.arange(s)[None, :])
  return entropy_lht, (weights_lhts * distance_ts).sum(axis=-1)


def attentions(opened: Opened, split: str) -> Iterator[Attention]:
  """The attention on the first examples of a split that are texts; those without text,
  or with too much, are left out."""
  examples = opened.run.config.data.open(split)
  for i in range(min(EXAMPLES, len(examples))):
    text, reference = examples[i], None
    if isinstance(opened.run.config.task, Translation):
      text, reference = text.source, text.target
    elif not isinstance(text, str):
      return
    else:
      text = text[:CHARACTERS]
    with contextlib.suppress(UnsuitableText):
      yield attention_of(opened, text, reference)
