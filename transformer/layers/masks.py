"""Who may look at whom; True where attention is allowed.

Masks come from positions and segments, never from array indices, so the same two
functions are right for padding, packing, caches and memories.
"""

import jax.numpy as jnp


def causal(q_pos_bt, k_pos_bs):
  """`[b, t, s]`: no token sees a later one (§3.2.3).

  Cache slots not yet written hold later positions and are hidden with them.
  """
  return k_pos_bs[:, None, :] <= q_pos_bt[:, :, None]


def same_segment(q_seg_bt, k_seg_bs):
  """`[b, t, s]`: tokens see their own example alone; padding (0) sees padding."""
  return jnp.equal(q_seg_bt[:, :, None], k_seg_bs[:, None, :])
