"""Sentence vectors and memory hops of memory networks (Sukhbaatar et al. 2015)."""

import dataclasses

import jax
import jax.numpy as jnp

from transformer.axes import dims


@dataclasses.dataclass(frozen=True)
class BagOfWords:
  """A sentence as the sum of the vectors of its words (§4.1, BoW)."""

  def __call__(self, x_bstd, real_bst):
    """`[b, s, d]` of sentences of words, `[b, s, t, d]`; `real_bst` is False at
    padding."""
    return jnp.sum(x_bstd * self.weights(x_bstd, real_bst), axis=2)

  def weights(self, x_bstd, real_bst):
    """The factor of each channel of each word."""
    return real_bst[..., None].astype(x_bstd.dtype)


@dataclasses.dataclass(frozen=True)
class PositionWeighted(BagOfWords):
  """The words' channels weighted by their position in the sentence, l_kj = (1 - j/J) -
  (k/d)(1 - 2j/J), with j and k from 1 and J words (§4.1, PE)."""

  def weights(self, x_bstd, real_bst):
    t, d = x_bstd.shape[2:]
    size_bs11 = jnp.maximum(jnp.sum(real_bst, axis=2), 1)[:, :, None, None]
    j_bstd = jnp.arange(1, t + 1)[None, None, :, None] / size_bs11
    k_bstd = (jnp.arange(1, d + 1) / d)[None, None, None, :]
    factor_bstd = (1.0 - j_bstd) - k_bstd * (1.0 - 2.0 * j_bstd)
    return (real_bst[..., None] * factor_bstd).astype(x_bstd.dtype)


def hop(u_bd, memory_bsd, output_bsd, real_bs):
  """u + o, where o = Σ p_i c_i and p = softmax(u · m_i) (§2.1, eq. 1 and 2; §2.2,
  eq. 4), and p, `[b, s]`.

  Args:
    u_bd: the question, or the output of the hop before.
    memory_bsd: m, the input memory, which u is compared with.
    output_bsd: c, the output memory, which is summed.
    real_bs: False where there is no sentence; without any sentence, o is 0.
  """
  dims(u_bd=u_bd, memory_bsd=memory_bsd, output_bsd=output_bsd, real_bs=real_bs)
  score_bs = jnp.einsum(
    "bd,bsd->bs", u_bd, memory_bsd, preferred_element_type=jnp.float32
  )
  score_bs = jnp.where(real_bs, score_bs, jnp.finfo(jnp.float32).min)
  weight_bs = (jax.nn.softmax(score_bs, axis=-1) * real_bs).astype(u_bd.dtype)
  return u_bd + jnp.einsum("bs,bsd->bd", weight_bs, output_bsd), weight_bs
