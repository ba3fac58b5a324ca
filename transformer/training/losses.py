"""Losses as sums and counts, divided once at the end."""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from transformer.axes import constrain_sharding, dims


class Mean(NamedTuple):
  """A mean as sum and count, which can be added up."""

  total: jax.Array
  count: jax.Array  # type: ignore[assignment]

  def __add__(self, other):
    return Mean(self.total + other.total, self.count + other.count)

  @property
  def value(self):
    """total / count, NaN if nothing was counted."""
    return self.total / self.count


def cross_entropy(logits_btv, target_bt, weight_bt, smoothing: float = 0.0) -> Mean:
  """Label-smoothed cross-entropy in nats over real tokens (§5.4).

  `smoothing` is spread over the whole vocabulary, target included (Szegedy et al.
  2016, §7): the target distribution is (1 - smoothing)·onehot + smoothing/v.

  Args:
    logits_btv: float32; -inf for an id that is no token, which is not counted in `v`.
    target_bt: token ids below `v`.
    weight_bt: 1 for a real token, 0 for padding.
    smoothing: epsilon_ls of the paper.
  """
  dims(logits_btv=logits_btv, target_bt=target_bt, weight_bt=weight_bt)
  normalizer_bt = jax.nn.logsumexp(logits_btv, axis=-1)
  target_logit_bt = jnp.take_along_axis(logits_btv, target_bt[:, :, None], axis=-1)[
    :, :, 0
  ]
  loss_bt = normalizer_bt - (1.0 - smoothing) * target_logit_bt
  if smoothing:
    present_btv = logits_btv > -jnp.inf
    mean_bt = jnp.mean(logits_btv, axis=-1, where=present_btv)
    loss_bt = loss_bt - smoothing * mean_bt
  weight_bt = weight_bt.astype(jnp.float32)
  return Mean(jnp.sum(loss_bt * weight_bt), jnp.sum(weight_bt))


def accuracy(logits_btv, target_bt, weight_bt) -> Mean:
  """How often the largest logit is the target's, over real tokens; arguments as in
  `cross_entropy`."""
  correct_bt = jnp.argmax(logits_btv, axis=-1) == target_bt
  weight_bt = weight_bt.astype(jnp.float32)
  return Mean(jnp.sum(correct_bt * weight_bt), jnp.sum(weight_bt))


@dataclasses.dataclass(frozen=True)
class CrossEntropy:
  """How hidden states become a loss over the vocabulary: the logits of all tokens at
  once, `[b, t, v]`."""

  def __call__(
    self, logits: Callable, x_btd, target_bt, weight_bt, smoothing: float = 0.0
  ) -> Mean:
    """`cross_entropy` of `logits(x_btd)`, a pure function from `[b, t, d]`."""
    return cross_entropy(logits(x_btd), target_bt, weight_bt, smoothing)


@dataclasses.dataclass(frozen=True)
class ChunkedCrossEntropy(CrossEntropy):
  """The logits of about `tokens` tokens of the global batch at a time: at no time are
  there more, forward or backward. The backward pass recomputes each chunk's, one more
  product with the vocabulary.

  A chunk is some slots of every row, and at least one, so that rows stay on their
  devices.

  Attributes:
    tokens: whose logits exist at a time, over all devices.
  """

  tokens: int = 4096

  def __post_init__(self):
    if self.tokens < 1:
      raise ValueError(
        f"ChunkedCrossEntropy.tokens: expected 1 or more, got {self.tokens}"
      )

  def __call__(
    self, logits: Callable, x_btd, target_bt, weight_bt, smoothing: float = 0.0
  ) -> Mean:
    b, t = target_bt.shape
    slots = min(t, max(1, self.tokens // b))
    count = -(-t // slots)

    def chunks(array, axes):
      """`[count, b, slots, …]`: chunk `i` has the slots `i, i + count, …`, so that
      each has its share of every stretch of a row."""
      padding = [(0, 0)] * array.ndim
      padding[1] = (0, count * slots - t)
      array = jnp.pad(array, padding).reshape(b, slots, count, *array.shape[2:])
      return constrain_sharding("n" + axes, jnp.moveaxis(array, 2, 0))

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def add(sums, chunk):
      x_btd, target_bt, weight_bt = chunk
      chunk_sums = cross_entropy(logits(x_btd), target_bt, weight_bt, smoothing)
      return sums + chunk_sums, None

    zero = Mean(jnp.zeros(()), jnp.zeros(()))
    arrays = chunks(x_btd, "btd"), chunks(target_bt, "bt"), chunks(weight_bt, "bt")
    return jax.lax.scan(add, zero, arrays)[0]
