"""From texts to texts through a sequence model: shapes, search, order.

Texts are sorted by length and put into a finite, declared set of shapes, so that a
search is compiled a handful of times whatever comes in. What a text becomes does not
depend on the texts around it: limits are per sentence, and padding is masked.
"""

import dataclasses
import functools
import zlib
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from transformer.batch import BOS, EOS, PAD, Tokens
from transformer.data.tokenizer import Tokenizer
from transformer.decoding.beam import beam_search
from transformer.decoding.constraint import Constraint
from transformer.decoding.penalty import GNMT, LengthPenalty
from transformer.decoding.sample import Sampler, generate
from transformer.decoding.state import Output, initial_coverage, nothing

LENGTHS = (8, 16, 32, 64, 128)
"""Declared source lengths in tokens; longer texts take multiples of the last."""

ROWS = (1, 8, 32, 128)
"""Declared numbers of sentences in a batch."""


@dataclasses.dataclass(frozen=True)
class Search:
  """How an output is looked for; `beam=1` goes token by token, greedily or drawing.

  The longest output of a sentence is its own source length + `extra` tokens, and the
  defaults are the paper's (§6.1). Lengths do not count `EOS`.

  Attributes:
    beam: live hypotheses a sentence.
    penalty: how outputs of different lengths compare.
    extra: how many tokens longer than its source an output may be.
    n_best: how many outputs are wanted; with a random `sampler`, how many are drawn.
    sampler: how a beam of 1 chooses each token.
    min_length, max_length: further limits in tokens, the same for every sentence.
    suppressed: ids that are never chosen.
  """

  beam: int = 4
  penalty: LengthPenalty = GNMT(alpha=0.6)
  extra: int = 50
  n_best: int = 1
  sampler: Sampler = Sampler()
  min_length: int = 0
  max_length: int | None = None
  suppressed: tuple[int, ...] = ()

  def __post_init__(self):
    for name, least in (("beam", 1), ("extra", 0), ("n_best", 1), ("min_length", 0)):
      value = getattr(self, name)
      if value < least:
        wrong = "negative" if least == 0 else f"less than {least}"
        raise ValueError(f"{name}: {value} is {wrong}")
    if self.max_length is not None and self.max_length < max(1, self.min_length):
      raise ValueError(
        f"max_length: {self.max_length} is less than {max(1, self.min_length)}"
      )
    if EOS in self.suppressed:
      raise ValueError("suppressed: without its end no output can be finished")
    if self.beam > 1 and self.draws:
      raise ValueError(f"sampler: a beam of {self.beam} does not draw; take beam=1")
    if self.beam == 1 and self.penalty.needs_attention:
      raise ValueError(
        f"penalty: {self.penalty} compares outputs by what they attended to, and a "
        "beam of 1 compares none; take a larger beam or another penalty"
      )
    if self.n_best > self.beam and not self.draws:
      raise ValueError(f"n_best: {self.n_best} is more than the beam's {self.beam}")

  @property
  def draws(self) -> bool:
    """Whether outputs are drawn at random."""
    return type(self.sampler) is not Sampler

  @property
  def width(self) -> int:
    """Outputs that a search makes for every sentence."""
    return max(self.beam, self.n_best)

  def limit(self, size: int) -> int:
    """The longest output for a source of `size` tokens, both without `EOS`."""
    longest = size + self.extra
    return longest if self.max_length is None else min(longest, self.max_length)


@functools.partial(jax.jit, static_argnames=("module", "search", "capacity"))
def find(
  module,
  search: Search,
  params,
  source: Tokens,
  constraint: Constraint,
  capacity: int,
  key=None,
  seed_b=None,
):
  """The search over one batch of sources; see `beam_search` for what comes out, and
  `generate` for `key` and `seed_b`."""
  state = begin(module, search.penalty, params, source, capacity)
  step = functools.partial(module.step, params)
  if search.beam == 1:
    output = generate(
      step, state, search.sampler, constraint, capacity, key, seed_b, search.n_best
    )
    n_bw = jnp.maximum(output.length_bw, 1)
    return output._replace(score_bw=search.penalty.normalise(output.logprob_bw, n_bw))
  # Near duplicates are taken out later, so all of a beam may be needed.
  settled = 1 if search.n_best == 1 else search.beam
  return beam_search(
    step, state, constraint, capacity, search.beam, search.penalty, settled
  )


def begin(module, penalty: LengthPenalty, params, source: Tokens, capacity: int):
  """The state before the first step, with what the penalty watches.

  Raises:
    ValueError: the penalty watches, and the model attends to no source.
  """
  state = module.start(params, source, capacity)
  if not penalty.needs_attention:
    return state
  state = state._replace(coverage_bws=initial_coverage(source.seg_bt))
  bos_bw = jnp.full(state.coverage_bws.shape[:2], BOS)
  if jax.eval_shape(module.step, params, bos_bw, state)[1].coverage_bws is None:
    raise ValueError(
      f"penalty: {penalty} asks what of the source was attended to, and "
      f"{type(module.c).__name__} attends to none; take another penalty"
    )
  return state


def compilations() -> int:
  """Programs that this process has compiled for `find`."""
  return find._cache_size()  # type: ignore[attr-defined]


class Searcher:
  """A model with parameters and a way to search, compiled once per shape.

  `compilations` counts the programs that it had to compile so far (or to fetch from the
  cache of an earlier process): at most one for each of the `declared_shapes`.
  """

  def __init__(self, module: nn.Module, params, search: Search, tokens: int = 4096):
    """`tokens` bounds source tokens times outputs in one batch."""
    self.module, self.search, self.tokens = module, search, tokens
    self.params = jax.jit(module.unstack)(params)
    self.compilations = 0

  def outputs(self, sources: Sequence[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
    """Searches for every source; yields `(index, its best token ids)` batch by batch,
    not in order.

    A source is its token ids with `EOS`; one without any other token gives none.
    """
    for i, output in self.found(sources):
      yield i, np.asarray(output.token_bwt[0])

  def found(
    self,
    sources: Sequence[np.ndarray],
    prefixes: Sequence[np.ndarray] | None = None,
    seed: int = 0,
  ) -> Iterator[tuple[int, Output]]:
    """As `outputs`, with everything that was found.

    Args:
      sources: token ids with `EOS`.
      prefixes: the forced beginning of every output, token ids without `EOS`.
      seed: of what is drawn; that follows from it and the source alone.

    Yields:
      `(index, Output)` with NumPy arrays `[w, …]`, without the axis `b`.
    """
    sizes = np.array([len(ids) for ids in sources])
    order = [i for i in np.argsort(sizes, kind="stable") if sizes[i] > 1]
    for empty in np.flatnonzero(sizes <= 1):
      yield int(empty), nothing_found(self.search.width)
    for length, rows, chosen in self.batches(order, sizes):
      beginnings = [prefixes[i] for i in chosen] if prefixes else []
      source, constraint, seed_b = self.asked(
        [sources[i] for i in chosen], beginnings, rows, length
      )
      capacity = self.search.limit(length) + 1
      before = compilations()
      output = find(
        self.module, self.search, self.params, source, constraint, capacity,
        jax.random.key(seed), seed_b,
      )  # fmt: skip
      self.compilations += compilations() - before
      output = jax.tree.map(np.asarray, output)
      for row, i in enumerate(chosen):
        yield int(i), Output(*(array[row] for array in output))

  def asked(
    self,
    sources: Sequence[np.ndarray],
    prefixes: Sequence[np.ndarray],
    rows: int,
    length: int,
  ) -> tuple[Tokens, Constraint, np.ndarray]:
    """A batch of one shape: sources, limits, and the seeds of what is drawn for each,
    uint32, which follow from the source alone."""
    source, limit_b = self.pad(sources, rows, length)
    least, longest = self.search.min_length, max(map(len, prefixes), default=0)
    width = declared_length(longest) if longest else 0
    prefix_bt = np.full((rows, width), PAD, np.int32)
    for row, ids in enumerate(prefixes):
      prefix_bt[row, : len(ids)] = ids
    seed_b = np.zeros(rows, np.uint32)
    for row, ids in enumerate(sources):
      seed_b[row] = zlib.crc32(np.ascontiguousarray(ids, np.int32).tobytes())
    constraint = Constraint(
      limit_b,
      jnp.full_like(limit_b, least) if least else None,
      jnp.asarray(prefix_bt) if width else None,
      self.search.suppressed,
    )
    return source, constraint, seed_b

  def batches(self, order: list[int], sizes) -> Iterator[tuple[int, int, list[int]]]:
    """Cuts indices sorted by size into `(length, rows, indices)` of declared shapes."""
    while order:
      length = declared_length(sizes[order[0]])
      fitting = [rows for rows in ROWS if rows * length * self.search.width
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
      limit_b[row] = self.search.limit(len(ids) - 1)
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


def nothing_found(w: int) -> Output:
  """The outputs of an empty source: `w` that do not exist."""
  return Output(*(np.asarray(array)[0] for array in nothing(1, w, 0)))
