"""Additive attention inside a recurrent decoder (Bahdanau et al. 2015, A.1.2).

Every state attends to the source before the next token is read, so queries come one by
one and the attention is inside the loop over time. `y_bsd` are the annotations of the
source; `k` is the width in which they are compared with a state.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from transformer.layers.linear import glorot, weight
from transformer.layers.rnn import RecurrentLayer, State, along_time, restart


class Annotations(NamedTuple):
  """A source as the decoder attends to it."""

  y_bsd: jax.Array  # the annotations
  key_bsk: jax.Array  # U_a h of each, computed once


class AlignedLayer(RecurrentLayer):
  """A cell that reads, besides each token, the attention of its last state to the
  source.

  e = v tanh(W s + U h) scores annotation h for state s; the softmax of the scores
  weighs the sum of the annotations, which enters every gate.
  """

  source: int  # width of the annotations
  k: int

  def setup(self):
    super().setup()
    d, g, f, k = self.source, self.cell.gates, self.f, self.k
    self.context_dgf = weight(
      self, "context", "dgf", (d, g, f), glorot(d, f), inputs="d"
    )
    self.query_fk = weight(self, "query", "fk", (f, k), glorot(f, k), inputs="f")
    self.key_dk = weight(self, "key", "dk", (d, k), glorot(d, k), inputs="d")
    self.score_k = weight(self, "score", "k", (k,), nn.initializers.normal(k**-0.5))

  def annotate(self, y_bsd) -> Annotations:
    """The source with its keys."""
    key_bsk = jnp.einsum("bsd,dk->bsk", y_bsd, self.key_dk.astype(y_bsd.dtype))
    return Annotations(y_bsd, key_bsk)

  def attend(self, h_bwf, source: Annotations, mask_bws):
    """The context of each state, `[b, w, d]`, and its attention weights, `[b, w, s]`.
    `mask_bws` is True where attention is allowed; a row with no True gives the mean."""
    y_bsd, key_bsk = source
    query_fk, score_k = (w.astype(y_bsd.dtype) for w in (self.query_fk, self.score_k))
    query_bwk = jnp.einsum("bwf,fk->bwk", h_bwf.astype(y_bsd.dtype), query_fk)
    match_bwsk = jnp.tanh(query_bwk[:, :, None] + key_bsk[:, None])
    score_bws = jnp.einsum(
      "bwsk,k->bws", match_bwsk, score_k, preferred_element_type=jnp.float32
    )
    lowest = jnp.finfo(jnp.float32).min
    weight_bws = jax.nn.softmax(jnp.where(mask_bws, score_bws, lowest), axis=-1)
    context_bwd = jnp.einsum("bws,bsd->bwd", weight_bws.astype(y_bsd.dtype), y_bsd)
    return context_bwd, weight_bws

  def advance(self, x_bwgf, state: State, source: Annotations, mask_bws):
    """The states after one token whose `inputs` are `x_bwgf`, the contexts that they
    read with it, `[b, w, d]`, and their attention weights, `[b, w, s]`."""
    context_bwd, weight_bws = self.attend(state[0], source, mask_bws)
    context_dgf = self.context_dgf.astype(context_bwd.dtype)
    x_bwgf = x_bwgf + jnp.einsum("bwd,dgf->bwgf", context_bwd, context_dgf)
    return self.cell(self.u_kgf, x_bwgf, state), context_bwd, weight_bws

  def decode(
    self, x_btd, start_bt, initial: State, source: Annotations, mask_bts,
    keep_weights: bool = False,
  ):  # fmt: skip
    """States, parts `[b, t, f]`, contexts, `[b, t, d]`, and with `keep_weights` the
    attention weights, `[b, t, s]`, else None, of whole targets; other arguments as in
    `RecurrentLayer` and `attend`."""
    b, t, _ = x_btd.shape

    def advance(state, now):
      x_bwgf, start_b, first, mask_bws = now
      state, context_bwd, weight_bws = self.advance(
        x_bwgf, restart(start_b, first, state), source, mask_bws
      )
      return state, (state, context_bwd, weight_bws if keep_weights else None)

    x_btgf = self.inputs(x_btd)
    scanned = jax.tree.map(lambda x: x[:, :, None], (x_btgf, initial, mask_bts))
    x_btwgf, first, mask_btws = scanned
    outputs = along_time(
      advance, self.zeros(b, 1), (x_btwgf, start_bt, first, mask_btws)
    )
    return jax.tree.map(lambda x: x[:, :, 0], outputs)
