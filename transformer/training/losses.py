"""Losses as sums and counts, divided once at the end."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from transformer.axes import dims


class Mean(NamedTuple):
  """A mean that can still be added to: sum and count."""

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
  2016, §7): the wanted distribution is (1 - smoothing)·onehot + smoothing/v.

  Args:
    logits_btv: float32.
    target_bt: token ids below `v`.
    weight_bt: 1 for a real token, 0 for padding.
    smoothing: epsilon_ls of the paper.
  """
  dims(logits_btv=logits_btv, target_bt=target_bt, weight_bt=weight_bt)
  normalizer_bt = jax.nn.logsumexp(logits_btv, axis=-1)
  chosen_bt = jnp.take_along_axis(logits_btv, target_bt[:, :, None], axis=-1)[:, :, 0]
  loss_bt = normalizer_bt - (1.0 - smoothing) * chosen_bt
  if smoothing:
    loss_bt = loss_bt - smoothing * jnp.mean(logits_btv, axis=-1)
  weight_bt = weight_bt.astype(jnp.float32)
  return Mean(jnp.sum(loss_bt * weight_bt), jnp.sum(weight_bt))
