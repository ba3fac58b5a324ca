"""What a search carries from step to step, and what it returns."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from transformer.batch import PAD


class DecodeState(NamedTuple):
  """A model's state while it generates.

  Every leaf of `cache` is `[b, w, …]`, a hypothesis' own, and follows its hypothesis
  when a search reorders them; where to write next is one of them. A `Slots` of the
  cache stays where it is. Every leaf of `memory` is `[b, …]`, a sentence's own: all its
  hypotheses read it in place. A search hands it to every step as it was given and takes
  none back, so it is never copied.

  `coverage_bws` is how much each hypothesis has attended to each token of its source:
  the weights of its attention, summed over the steps so far. It is None unless a search
  begins with an array (`initial_coverage`), and where a model attends to no source.
  """

  cache: Any
  memory: Any
  coverage_bws: Any = None

  def after(self, cache, weight_bws) -> "DecodeState":
    """The state one step later: its cache, and what the step attended to besides."""
    coverage_bws = self.coverage_bws
    if coverage_bws is not None:
      coverage_bws = coverage_bws + weight_bws.astype(jnp.float32)
    return DecodeState(cache, self.memory, coverage_bws)


def initial_coverage(source_seg_bs):
  """`coverage_bws` before the first step, `[b, 1, s]`: nothing, but 1 at padding, which
  counts as attended to."""
  return (source_seg_bs == 0).astype(jnp.float32)[:, None]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Slots:
  """What was written at every step from every place of the beam, side by side on one
  axis: first the `w` of the first step, then those of the second.

  It is large, so a search that reorders its hypotheses leaves it alone: a model keeps
  in an ordinary leaf of its cache from which place each of a hypothesis' tokens was
  written. Nor is it read before it is full: a search begins with few slots and adds
  more, so a model takes their number from the array.

  Attributes:
    array: `[b, …]`, zeros where nothing is written yet.
    axis: that of the steps and places.
    places: `w`.
  """

  array: jax.Array
  axis: int = dataclasses.field(metadata={"static": True})
  places: int = dataclasses.field(default=1, metadata={"static": True})

  @property
  def count(self) -> int:
    """Steps that there is room for."""
    return self.array.shape[self.axis] // self.places

  def write(self, new, index) -> "Slots":
    """With `new`, which has the `w` places on the axis, as step number `index`."""
    array = jax.lax.dynamic_update_slice_in_dim(
      self.array, new, index * self.places, self.axis
    )
    return dataclasses.replace(self, array=array)

  def widen(self, w: int) -> "Slots":
    """One place to `w` that have written the same so far."""
    return Slots(jnp.repeat(self.array, w, self.axis), self.axis, w)

  def resize(self, count: int) -> "Slots":
    """The first `count` steps, with room added where there is not so much."""
    pads = [(0, 0, 0)] * self.array.ndim
    pads[self.axis] = (0, (count - self.count) * self.places, 0)
    array = jax.lax.pad(self.array, jnp.zeros((), self.array.dtype), pads)
    return dataclasses.replace(self, array=array)


def _is_slots(node) -> bool:
  return isinstance(node, Slots)


class Output(NamedTuple):
  """What a search found. Beam search puts the best hypothesis first.

  A hypothesis that does not exist (fewer were found than asked for, or the sentence's
  `max_length_b` is 0) has length 0, only `PAD`, and score and log-probability -inf.
  """

  token_bwt: jax.Array  # ids up to and with EOS, then PAD; t is the capacity
  score_bw: jax.Array  # log-probability under the length penalty
  logprob_bw: jax.Array  # sum of the token log-probabilities, in nats
  token_logprob_bwt: jax.Array  # the model's own, uncut; 0 after EOS
  length_bw: jax.Array  # tokens, EOS counted


def nothing(b: int, w: int, capacity: int) -> Output:
  """`w` hypotheses a sentence none of which exists."""
  return Output(
    token_bwt=jnp.full((b, w, capacity), PAD, jnp.int32),
    score_bw=jnp.full((b, w), -jnp.inf),
    logprob_bw=jnp.full((b, w), -jnp.inf),
    token_logprob_bwt=jnp.zeros((b, w, capacity), jnp.float32),
    length_bw=jnp.zeros((b, w), jnp.int32),
  )


def widen(cache, w: int):
  """One hypothesis a sentence to `w` alike."""

  def repeat(leaf):
    if _is_slots(leaf):
      return leaf.widen(w)
    return jnp.broadcast_to(leaf, (leaf.shape[0], w, *leaf.shape[2:]))

  return jax.tree.map(repeat, cache, is_leaf=_is_slots)


def take(tree, place_bw):
  """Hypothesis `i` of every sentence becomes what `place_bw[:, i]` was; `Slots` do
  not."""

  def gather(leaf):
    if _is_slots(leaf):
      return leaf
    return jax.vmap(lambda rows, places: rows[places])(leaf, place_bw)

  return jax.tree.map(gather, tree, is_leaf=_is_slots)


SLOTS = 32
"""Slots that a search begins with; it doubles them whenever they are full."""


def grow_while(going: Callable, advance: Callable, start: Any, capacity: int):
  """`advance` from `start` on while `going`; both have `t`, the steps taken so far.

  The `Slots` in it have room for few steps at first, so that each step reads about as
  much as has been written, whatever the capacity is.
  """
  leaves = jax.tree.leaves(start, is_leaf=_is_slots)
  # The capacity of a search that is exported may be a symbol, and cannot be grown to.
  grows = any(map(_is_slots, leaves)) and isinstance(capacity, int)
  count = min(SLOTS, capacity) if grows else capacity
  while True:

    def resize(leaf, count=count):
      return leaf.resize(count) if _is_slots(leaf) else leaf

    def fits(s, count=count):
      return going(s) & (s.t < count)

    start = jax.tree.map(resize, start, is_leaf=_is_slots)
    start = jax.lax.while_loop(fits, advance, start)
    if count == capacity:
      return start
    count = min(2 * count, capacity)


def put(array_bwt, value_bw, t):
  """Writes `value_bw` at place `t` of every hypothesis."""
  return jax.lax.dynamic_update_index_in_dim(array_bwt, value_bw, t, 2)


def last_token(token_bwt, t, first: int):
  """The token before place `t`, `first` where there is none; `[b, w]`."""
  before_bw = jax.lax.dynamic_index_in_dim(
    token_bwt, jnp.maximum(t - 1, 0), 2, keepdims=False
  )
  return jnp.where(t == 0, first, before_bw)
