"""The end-to-end memory network (Sukhbaatar et al. 2015)."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from transformer.batch import Questions
from transformer.layers.attention import AttentionIntermediates
from transformer.layers.linear import weight
from transformer.layers.memory_hops import BagOfWords, PositionWeighted, hop
from transformer.models.base import Attentions, Model, check_settings


@dataclasses.dataclass(frozen=True)
class MemoryNetwork(Model):
  """Answers a question by reading the sentences of a story `hops` times, with matrices
  tied from hop to hop ("adjacent", §2.2); the sizes are those of §4.4 for single tasks.

  Attributes:
    hops: how often the memory is read.
    d_model: width of all vectors.
    sentence: how words become a sentence.
    memory_size: number of ages of sentences with a vector of their own; all older
      sentences share the last.
  """

  hops: int = 3
  d_model: int = 20
  sentence: BagOfWords = PositionWeighted()
  memory_size: int = 50

  def __post_init__(self):
    check_settings(self, ("hops", "d_model", "memory_size"))

  @property
  def width(self) -> int:
    return self.d_model

  def module(self, vocabulary: int, dtype=jnp.float32) -> "MemoryNetworkModule":
    return MemoryNetworkModule(self, vocabulary, dtype)

  def example(self) -> Questions:
    id_bst, question_bt = np.ones((1, 2, 3), np.int32), np.ones((1, 3), np.int32)
    one_b, age_bs = np.ones(1, np.int32), np.array([[1, 0]], np.int32)
    return Questions(id_bst, age_bs, question_bt, one_b, one_b)


class MemoryNetworkModule(nn.Module):
  """Logits of every word as the answer."""

  c: MemoryNetwork
  vocabulary: int
  dtype: Any = jnp.float32

  def __call__(self, batch: Questions, train: bool = False):
    """Logits `[b, v]` in float32."""
    return self.read(batch)[0]

  def attention(self, batch: Questions) -> Attentions:
    """See `models.base.Attends`: the question attends to sentences, once a hop."""
    weights_lbs = jnp.stack(self.read(batch)[1])
    weights_lbhts = weights_lbs[:, :, None, None]
    return {"memory_attention": AttentionIntermediates(weights_lbhts)}

  @nn.compact
  def read(self, batch: Questions):
    """Logits `[b, v]` in float32, and the attention weights of each hop, `[b, s]`.

    A^1 is B, the question's matrix; A^{k+1} is C^k, and the last C is W, the answer's
    (§2.2): K + 1 matrices for words and as many for time, one row an age (§4.1).
    """
    c, start = self.c, nn.initializers.normal(0.1)  # §4.2
    shape = c.hops + 1, self.vocabulary, c.d_model
    words_lvd = weight(
      self, "words", "lvd", shape, start, inputs="d", stacked="l", hidden=False
    ).astype(self.dtype)
    times = c.hops + 1, c.memory_size, c.d_model
    time_lsd = weight(self, "time", "lsd", times, start, stacked="l")
    time_lsd = time_lsd.astype(self.dtype)

    def embed(l, id_bst):
      x_bstd = jnp.take(words_lvd[l], jnp.maximum(id_bst, 0), axis=0)
      return c.sentence(x_bstd, id_bst >= 0)

    real_bs = jnp.any(batch.id_bst >= 0, axis=2)
    age_bs = jnp.minimum(batch.age_bs, c.memory_size - 1)
    memory = [
      embed(l, batch.id_bst) + jnp.take(time_lsd[l], age_bs, axis=0)
      for l in range(c.hops + 1)
    ]
    u_bd = embed(0, batch.question_bt[:, None])[:, 0]
    weights = []
    for l in range(c.hops):
      u_bd, weight_bs = hop(u_bd, memory[l], memory[l + 1], real_bs)
      weights.append(weight_bs)
    logits_bv = jnp.einsum(
      "bd,vd->bv", u_bd, words_lvd[-1], preferred_element_type=jnp.float32
    )
    return logits_bv, weights
