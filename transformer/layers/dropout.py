"""Dropout whose mask is a hash of the index, which makes it almost free."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from transformer.hashing import finalise, index


def hashed_bits(key, shape: tuple[int, ...]):
  """uint32 bits, a pure function of a key and of each element's index.

  The index is offset by two words drawn from `key` and passed twice through a bijection
  that mixes all bits. It fuses into its consumer and is the same under every sharding.
  Good for dropout, not for cryptography; indices wrap after 2^32 elements.
  """
  first, second = jax.random.bits(key, (2,), jnp.uint32)
  return finalise(finalise(index(shape) + first) + second)


def dropout(mod: nn.Module, x, rate: float, train: bool):
  """Zeroes each element with probability `rate` and scales the rest by 1/(1 - rate)
  (Srivastava et al. 2014); the identity unless `train`.

  Draws from the stream `dropout` of `mod`.
  """
  if not train or rate == 0.0:
    return x
  kept = hashed_bits(mod.make_rng("dropout"), x.shape) >= jnp.uint32(rate * 2**32)
  return jnp.where(kept, x / (1.0 - rate), jnp.zeros((), x.dtype)).astype(x.dtype)
