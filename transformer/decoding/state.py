"""The state of a search, its key/value cache, and its output."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from transformer.batch import PAD


class DecodeState(NamedTuple):
  """A model's state while it generates.

  Attributes:
    cache: leaves `[b, w, …]`, one entry a hypothesis, which are reordered with the
      hypotheses; and `KVCache`s, which are not.
    encoded: leaves `[b, …]`, computed once per sentence and read by all of its
      hypotheses. A search passes them to every step unchanged, so they are never
      copied.
    index: int32, the number of steps so far: the position of the next token, and where
      the cache is written next.
    coverage_bws: how much each hypothesis has attended to each token of its source, the
      attention weights summed over the steps so far. None unless a search begins with
      an array (`initial_coverage`), and where a model attends to no source.
  """

  cache: Any
  encoded: Any
  index: Any = 0
  coverage_bws: Any = None

  def after(self, cache, weight_bws=None) -> "DecodeState":
    """The state after one more step: its cache, and the attention weights of the step,
    None where the model attends to no source."""
    coverage_bws = None
    if self.coverage_bws is not None and weight_bws is not None:
      coverage_bws = self.coverage_bws + weight_bws.astype(jnp.float32)
    return DecodeState(cache, self.encoded, self.index + 1, coverage_bws)


def initial_coverage(source_seg_bs):
  """`coverage_bws` before the first step, `[b, 1, s]`: 0, but 1 at padding, which
  counts as attended to."""
  return (source_seg_bs == 0).astype(jnp.float32)[:, None]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class KVCache:
  """Keys and values of every step in every beam slot, of one layer.

  A search with a beam of `w` has `w` slots. Hypothesis `i` of a step is computed in
  slot `i`, and its key and value are written there and never move, because copying the
  cache at every reordering would cost more than the step. `s` runs over steps and
  slots:

      w = 2, three steps        step     0       1       2
                                slot   0   1   0   1   0   1
                                s      0   1   2   3   4   5

  Where the tokens of a hypothesis were written is kept in a small leaf of the cache,
  its origins, one slot for each step, which are reordered with the hypotheses. Say that
  after step 0 both survivors continue slot 0, and after step 1 hypothesis 0 continues
  slot 1 and hypothesis 1 continues slot 0:

      step 0   slot 0 writes `A`, slot 1 writes `B`      origins  [0]         [1]
      reorder to (0, 0)                                           [0]         [0]
      step 1   slot 0 writes `C`, slot 1 writes `D`               [0, 0]      [0, 1]
      reorder to (1, 0)                                           [0, 1]      [0, 0]
      step 2   slot 0 writes `E`, slot 1 writes `F`               [0, 1, 0]   [0, 0, 1]

  Hypothesis 0 is now A D E and hypothesis 1 is A C F. The mask of hypothesis `i` is
  True at (step, slot) where `origins[i][step] == slot`: `s` = 0, 3, 4 for hypothesis 0
  and `s` = 0, 2, 5 for hypothesis 1. Origins of later steps are -1, which is no slot.

  A search begins with few steps and grows the cache (`grow_while`), so a model takes
  their number from the arrays.

  Attributes:
    k_bhks: keys, zeros where nothing is written yet.
    v_bhsk: values.
    slots: `w`.
  """

  k_bhks: jax.Array
  v_bhsk: jax.Array
  slots: int = dataclasses.field(default=1, metadata={"static": True})

  @classmethod
  def zeros(cls, b, heads: int, d_k: int, d_v: int, steps, dtype) -> "KVCache":
    """An empty cache of one slot."""
    return cls(
      jnp.zeros((b, heads, d_k, steps), dtype), jnp.zeros((b, heads, steps, d_v), dtype)
    )

  @property
  def steps(self) -> int:
    """The steps that fit."""
    return self.k_bhks.shape[3] // self.slots

  def write(self, k_bwhk, v_bwhk, index) -> "KVCache":
    """With the keys and values of all slots at step number `index`."""
    at = index * self.slots
    update = jax.lax.dynamic_update_slice_in_dim
    k_bhks = update(self.k_bhks, k_bwhk.transpose(0, 2, 3, 1), at, 3)
    v_bhsk = update(self.v_bhsk, v_bwhk.transpose(0, 2, 1, 3), at, 2)
    return KVCache(k_bhks, v_bhsk, self.slots)

  def keys_and_values(self) -> tuple[jax.Array, jax.Array]:
    """Keys and values `[b, s, h, k]`, as attention takes them."""
    return split_heads(self.k_bhks, self.v_bhsk)

  def repeat(self, w: int) -> "KVCache":
    """The cache of one slot as that of `w` slots with the same content."""
    return KVCache(
      jnp.repeat(self.k_bhks, w, axis=3), jnp.repeat(self.v_bhsk, w, axis=2), w
    )

  def resize(self, steps) -> "KVCache":
    """The first `steps` steps, zeros for those that are new."""
    more = (steps - self.steps) * self.slots
    zero = jnp.zeros((), self.k_bhks.dtype)
    none = (0, 0, 0)
    k_bhks = jax.lax.pad(self.k_bhks, zero, (none, none, none, (0, more, 0)))
    v_bhsk = jax.lax.pad(self.v_bhsk, zero, (none, none, (0, more, 0), none))
    return KVCache(k_bhks, v_bhsk, self.slots)


def split_heads(k_bhks, v_bhsk) -> tuple[jax.Array, jax.Array]:
  """Keys and values `[b, s, h, k]` from the order of axes in which they are cached; a
  change of layout that moves no data."""
  return k_bhks.transpose(0, 3, 1, 2), v_bhsk.transpose(0, 2, 1, 3)


def written_slots(origin_bws, index):
  """Origins after a step: at `index`, each hypothesis has written its own slot."""
  b, w, _ = origin_bws.shape
  slot_w1 = jnp.arange(w, dtype=jnp.int32)[:, None]
  slot_bw1 = jnp.broadcast_to(slot_w1, (b, w, 1))
  return jax.lax.dynamic_update_slice_in_dim(origin_bws, slot_bw1, index, 2)


def _is_cache(node) -> bool:
  return isinstance(node, KVCache)


class Output(NamedTuple):
  """The outputs of a search. Beam search puts the best hypothesis first.

  A hypothesis that does not exist (fewer were found than asked for, or the sentence's
  `max_length_b` is 0) has length 0, only `PAD`, and score and log-probability -inf.
  """

  token_bwt: jax.Array  # ids up to and with EOS, then PAD; t is the capacity
  score_bw: jax.Array  # log-probability under the length penalty
  logprob_bw: jax.Array  # sum of the token log-probabilities, in nats
  token_logprob_bwt: jax.Array  # of the model, before any sampler; 0 after EOS
  length_bw: jax.Array  # tokens, EOS counted


def nothing(b: int, w: int, capacity: int) -> Output:
  """`w` hypotheses a sentence, none of which exists."""
  return Output(
    token_bwt=jnp.full((b, w, capacity), PAD, jnp.int32),
    score_bw=jnp.full((b, w), -jnp.inf),
    logprob_bw=jnp.full((b, w), -jnp.inf),
    token_logprob_bwt=jnp.zeros((b, w, capacity), jnp.float32),
    length_bw=jnp.zeros((b, w), jnp.int32),
  )


def repeat(cache, w: int):
  """A cache of one hypothesis a sentence as that of `w` equal ones."""

  def repeat_leaf(leaf):
    if _is_cache(leaf):
      return leaf.repeat(w)
    return jnp.broadcast_to(leaf, (leaf.shape[0], w, *leaf.shape[2:]))

  return jax.tree.map(repeat_leaf, cache, is_leaf=_is_cache)


def reorder(tree, parent_bw):
  """Hypothesis `i` of every sentence becomes the former hypothesis `parent_bw[:, i]`;
  `KVCache`s stay as they are."""

  def gather(leaf):
    if _is_cache(leaf):
      return leaf
    return jax.vmap(lambda rows, parents: rows[parents])(leaf, parent_bw)

  return jax.tree.map(gather, tree, is_leaf=_is_cache)


FIRST_STEPS = 32
"""Steps of a cache when a search begins; they double whenever the cache is full."""

LAST_GROWTH = 2.5
"""A cache grows up to so many times to its full capacity at once: one more loop would
take longer to compile than it saves."""


def grow_while(condition: Callable, advance: Callable, start: Any, capacity: int):
  """`advance` from `start` while `condition` holds; the loop state has `t`, the steps
  so far.

  The `KVCache`s in it have few steps at first, so that each step reads about as much as
  has been written, whatever the capacity is.
  """
  leaves = jax.tree.leaves(start, is_leaf=_is_cache)
  # The capacity of an exported search may be symbolic, and the cache cannot grow to it.
  grows = any(map(_is_cache, leaves)) and isinstance(capacity, int)
  steps = min(FIRST_STEPS, capacity) if grows else capacity
  while True:

    def resize(leaf, steps=steps):
      return leaf.resize(steps) if _is_cache(leaf) else leaf

    def fits(s, steps=steps):
      return condition(s) & (s.t < steps)

    start = jax.tree.map(resize, start, is_leaf=_is_cache)
    start = jax.lax.while_loop(fits, advance, start)
    if steps == capacity:
      return start
    steps = capacity if capacity <= LAST_GROWTH * steps else 2 * steps


def write_token(array_bwt, value_bw, t):
  """`array_bwt` with `value_bw` at position `t` of every hypothesis."""
  return jax.lax.dynamic_update_index_in_dim(array_bwt, value_bw, t, 2)


def last_token(token_bwt, t, first: int | jax.Array):
  """The token before position `t`, and `first` at position 0; `[b, w]`."""
  before_bw = jax.lax.dynamic_index_in_dim(
    token_bwt, jnp.maximum(t - 1, 0), 2, keepdims=False
  )
  return jnp.where(t == 0, first, before_bw)
