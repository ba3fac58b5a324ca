"""Attention masks; True where attention is allowed.

Masks are made of positions and segments, never of array indices, so the same two
functions are right for padding, packing, caches and segment memories.
"""

import jax.numpy as jnp


def causal(q_pos_bt, k_pos_bs):
  """`[b, t, s]`: no token attends to a later one (§3.2.3).

  Entries of a cache that are not written yet have later positions and are hidden too.
  """
  return k_pos_bs[:, None, :] <= q_pos_bt[:, :, None]


def same_segment(q_seg_bt, k_seg_bs):
  """`[b, t, s]`: tokens attend to their own example, and padding (0) to padding."""
  return jnp.equal(q_seg_bt[:, :, None], k_seg_bs[:, None, :])
