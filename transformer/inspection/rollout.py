"""Attention rollout: how much of each input token reaches each token of a layer through
the layers below (Abnar and Zuidema 2020, §3)."""

import numpy as np


def self_rollout(weights_lhts: np.ndarray) -> np.ndarray:
  """The rollout of self-attention after every layer, `[l, t, s]`; rows sum to one.

  R_l = (A_l + I) / 2 · R_{l-1}, with A_l the mean over heads: the residual connection
  carries half of each token past the attention.
  """
  identity_ts = np.eye(weights_lhts.shape[-1])
  rolled_ts, layers = identity_ts, []
  for weights_ts in weights_lhts.mean(axis=1, dtype=np.float64):
    rolled_ts = (weights_ts + identity_ts) / 2 @ rolled_ts
    layers.append(rolled_ts)
  return np.stack(layers)


def decoder_rollout(
  self_lhtu: np.ndarray, source_lhts: np.ndarray, encoder_su: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """The rollout of a decoder after every layer: to the target tokens that it has read,
  `[l, t, u]`, and to the source, `[l, t, s]`. A row of both together sums to one.

  Each of the two sublayers has a residual connection, so the rule of self-attention
  holds for both: what attention to the source brings is half of the sum, and it brings
  the encoder's tokens, which are themselves mixtures of the source's.

  Args:
    self_lhtu: weights of self-attention.
    source_lhts: weights of attention to the source.
    encoder_su: the rollout of the encoder's last layer.
  """
  target_tu = np.eye(self_lhtu.shape[-1])
  source_ts = np.zeros(source_lhts.shape[-2:])
  layers = []
  for own_tu, weights_ts in zip(
    self_lhtu.mean(axis=1, dtype=np.float64),
    source_lhts.mean(axis=1, dtype=np.float64),
    strict=True,
  ):
    mixed_tu = (own_tu + np.eye(len(own_tu))) / 2
    target_tu, source_ts = mixed_tu @ target_tu, mixed_tu @ source_ts
    target_tu, source_ts = target_tu / 2, (source_ts + weights_ts @ encoder_su) / 2
    layers.append((target_tu, source_ts))
  targets, sources = zip(*layers, strict=True)
  return np.stack(targets), np.stack(sources)
