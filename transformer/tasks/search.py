"""From texts to texts through a sequence model: shapes, search, order.

Texts are sorted by length and put into a finite, declared set of shapes, so that a
search is compiled a handful of times whatever comes in. What a text becomes does not
depend on the texts around it: limits are per sentence, and padding is masked.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from transformer.batch import Tokens
from transformer.data.tokenizer import Tokenizer
from transformer.decoding.beam import beam_search
from transformer.decoding.constraint import Constraint
from transformer.decoding.penalty import Gnmt, LengthPenalty
from transformer.decoding.sample import Sampler, generate

LENGTHS = (8, 16, 32, 64, 128)
"""Declared source lengths in tokens; longer texts take multiples of the last."""

ROWS = (1, 8, 32, 128)
"""Declared numbers of sentences in a batch."""


@dataclasses.dataclass(frozen=True)
class Search:
  """How an output is looked for; `beam=1` is greedy.

  The longest output of a sentence is its own source length + `extra` tokens, and the
  defaults are the paper's (§6.1).
  """

  beam: int = 4
  penalty: LengthPenalty = Gnmt(alpha=0.6)
  extra: int = 50

  def __post_init__(self):
    if self.beam < 1:
      raise ValueError(f"beam: {self.beam} is less than 1")
    if self.extra < 0:
      raise ValueError(f"extra: {self.extra} is negative")


@functools.partial(jax.jit, static_argnames=("module", "search", "capacity"))
def find(
  module,
  search: Search,
  params,
  source: Tokens,
  constraint: Constraint,
  capacity: int,
):
  """The search over one batch of sources; see `beam_search` for what comes out."""
  state = module.start(params, source, capacity)
  step = functools.partial(module.step, params)
  if search.beam == 1:
    return generate(step, state, Sampler(), constraint, capacity)
  return beam_search(step, state, constraint, capacity, search.beam, search.penalty)


def compilations() -> int:
  """Programs that this process has compiled for `find`."""
  return find._cache_size()  # type: ignore[attr-defined]


class Searcher:
  """A model with parameters and a way to search, compiled once per shape.

  `compilations` counts the programs that it had to compile so far (or to fetch from the
  cache of an earlier process): at most one for each of the `declared_shapes`.
  """

  def __init__(self, module: nn.Module, params, search: Search, tokens: int = 4096):
    """`tokens` bounds source tokens times beam in one batch."""
    self.module, self.search, self.tokens = module, search, tokens
    self.params = jax.jit(module.unstack)(params)
    self.compilations = 0

  def outputs(self, sources: Sequence[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
    """Searches for every source; yields `(index, its best token ids)` batch by batch,
    not in order.

    A source is its token ids with `EOS`; one without any other token gives none.
    """
    sizes = np.array([len(ids) for ids in sources])
    order = [i for i in np.argsort(sizes, kind="stable") if sizes[i] > 1]
    for empty in np.flatnonzero(sizes <= 1):
      yield int(empty), np.zeros(0, np.int32)
    for length, rows, chosen in self.batches(order, sizes):
      source, limit_b = self.pad([sources[i] for i in chosen], rows, length)
      capacity = length + self.search.extra + 1
      before = compilations()
      output = find(
        self.module, self.search, self.params, source, Constraint(limit_b), capacity
      )
      self.compilations += compilations() - before
      token_bt = np.asarray(output.token_bwt)[:, 0]
      for row, i in enumerate(chosen):
        yield int(i), token_bt[row]

  def batches(self, order: list[int], sizes) -> Iterator[tuple[int, int, list[int]]]:
    """Cuts indices sorted by size into `(length, rows, indices)` of declared shapes."""
    while order:
      length = declared_length(sizes[order[0]])
      fitting = [rows for rows in ROWS if rows * length * self.search.beam
                 <= self.tokens] or [1]  # fmt: skip
      # The slowest sentence of a batch sets its time, so only like sizes share one.
      same = [i for i in order[: fitting[-1]] if declared_length(sizes[i]) == length]
      rows = next(rows for rows in fitting if rows >= len(same))
      yield length, rows, same
      order = order[len(same) :]

  def pad(self, sources: Sequence[np.ndarray], rows: int, length: int):
    """`Tokens` of one shape, and the longest output allowed to each row."""
    id_bt = np.zeros((rows, length), np.int32)
    seg_bt = np.zeros((rows, length), np.int32)
    limit_b = np.zeros(rows, np.int32)
    for row, ids in enumerate(sources):
      id_bt[row, : len(ids)] = ids
      seg_bt[row, : len(ids)] = 1
      limit_b[row] = len(ids) - 1 + self.search.extra
    pos_bt = np.where(seg_bt > 0, np.arange(length, dtype=np.int32), 0)
    return Tokens(id_bt, pos_bt.astype(np.int32), seg_bt), jnp.asarray(limit_b)

  def texts(self, texts: Sequence[str], tokenizer: Tokenizer, progress=None):
    """Every text's output, in order; an empty text gives an empty text.

    `progress`, if given, is called with the number of texts finished each time.
    """
    found = [""] * len(texts)
    for i, ids in self.outputs(tokenizer.encode(list(texts))):
      if len(ids):
        found[i] = tokenizer.decode([ids])[0]
      if progress is not None:
        progress(1)
    return found


def declared_shapes(longest: int, tokens: int, beam: int) -> set[tuple[int, int]]:
  """Every `(length, rows)` of batches of sources of up to `longest` tokens."""
  most = declared_length(longest)
  lengths = {*LENGTHS, *range(LENGTHS[-1], most + 1, LENGTHS[-1])}
  return {
    (length, rows)
    for length in lengths
    if length <= most
    for rows in ROWS
    if rows == 1 or rows * length * beam <= tokens
  }


def declared_length(size: int) -> int:
  """The smallest declared length that holds `size` tokens."""
  for length in LENGTHS:
    if size <= length:
      return length
  return -(-int(size) // LENGTHS[-1]) * LENGTHS[-1]
