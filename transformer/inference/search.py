"""Searches for the outputs of a sequence-to-sequence model, batch by batch.

Sources are grouped into a small, declared set of shapes, so a search is compiled only a
few times. The output of a text does not depend on the batch that it is in (batch
invariance): limits are per sentence, and padding is masked.
"""

import copy
import dataclasses
import functools
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from transformer.batch import EOS, Tokens
from transformer.data.tokenizer import Tokenizer
from transformer.decoding.beam import beam_search
from transformer.decoding.constraint import Constraint
from transformer.decoding.penalty import GNMT, LengthPenalty
from transformer.decoding.sample import generate
from transformer.decoding.samplers import Sampler
from transformer.decoding.state import Output, initial_coverage, nothing
from transformer.inference.batches import (
  Group,
  PaddedLengths,
  affordable,
  group,
  pad_ids,
  pad_tokens,
)
from transformer.inference.devices import Devices

SOURCE_LENGTHS = PaddedLengths((8, 16, 32, 64, 128), 128)
"""Declared lengths of sources, targets and prefixes in tokens."""

ROWS = (1, 8, 32, 128)
"""Declared numbers of sentences in a batch."""


@dataclasses.dataclass(frozen=True)
class Search:
  """How outputs are searched for; with `beam=1` greedily, or by sampling.

  The longest output of a sentence is its own source length + `extra` tokens, or
  `min_length` where that is more; the defaults are the paper's (Vaswani et al. 2017,
  §6.1). Lengths do not count `EOS`.

  Attributes:
    beam: live hypotheses a sentence.
    penalty: how outputs of different lengths compare.
    extra: how many tokens longer than its source an output may be.
    n_best: outputs a sentence; with a random `sampler`, the number of samples.
    sampler: chooses each token where `beam` is 1.
    min_length, max_length: further limits in tokens, the same for every sentence.
    suppressed: ids that are never chosen.
    prefix: ids that every output begins with, such as the token of its language. Beam
      search takes them as given: their probability does not count.
  """

  beam: int = 4
  penalty: LengthPenalty = GNMT(alpha=0.6)
  extra: int = 50
  n_best: int = 1
  sampler: Sampler = Sampler()
  min_length: int = 0
  max_length: int | None = None
  suppressed: tuple[int, ...] = ()
  prefix: tuple[int, ...] = ()

  def __post_init__(self):
    for name, least in (("beam", 1), ("extra", 0), ("n_best", 1), ("min_length", 0)):
      value = getattr(self, name)
      if value < least:
        raise ValueError(f"{name}: expected {least} or more, got {value}")
    if self.max_length is not None and self.max_length < max(1, self.min_length):
      raise ValueError(
        f"max_length: expected {max(1, self.min_length)} or more, got {self.max_length}"
      )
    if EOS in self.suppressed:
      raise ValueError("suppressed: EOS cannot be suppressed, for no output would end")
    if self.beam > 1 and self.draws:
      raise ValueError(f"sampler: expected a beam of 1 to sample, got {self.beam}")
    if self.beam == 1 and self.penalty.needs_attention:
      raise ValueError(
        f"penalty: {self.penalty} ranks outputs by their attention, and a beam of 1 "
        "has nothing to rank; take a larger beam or another penalty"
      )
    if self.n_best > self.beam and not self.draws:
      raise ValueError(
        f"n_best: expected at most the beam's {self.beam}, got {self.n_best}"
      )

  @property
  def draws(self) -> bool:
    """Whether outputs are sampled at random."""
    return type(self.sampler) is not Sampler

  @property
  def width(self) -> int:
    """Outputs a sentence that a search computes."""
    return max(self.beam, self.n_best)

  @property
  def program(self) -> "Search":
    """The part of the search that programs are compiled for: not which ids its prefix
    has, only how many, so that the languages of a model share programs."""
    return dataclasses.replace(self, prefix=(0,) * len(self.prefix))

  def limit(self, size: int) -> int:
    """The longest output for a source of `size` tokens, both without `EOS`."""
    longest = max(size + self.extra, self.min_length)
    return longest if self.max_length is None else min(longest, self.max_length)


@functools.partial(jax.jit, static_argnames=("module", "search", "capacity", "devices"))
def find(
  module,
  search: Search,
  params,
  source: Tokens,
  constraint: Constraint,
  capacity: int,
  key=None,
  seed_b=None,
  devices: Devices = Devices(),
):
  """Searches for the outputs of one batch of sources, as `beam_search` returns them;
  for `key` and `seed_b` see `generate`. Each of `devices` searches for its own rows."""

  def search_rows(shared, rows):
    params, key, suppressed = shared
    source, constraint, seed_b = rows
    constraint = constraint._replace(suppressed=suppressed)
    return find_rows(module, search, params, source, constraint, capacity, key, seed_b)

  shared = params, key, constraint.suppressed
  rows = source, constraint._replace(suppressed=()), seed_b
  return devices.split_rows(search_rows)(shared, rows)


def find_rows(
  module,
  search: Search,
  params,
  source: Tokens,
  constraint: Constraint,
  capacity: int,
  key,
  seed_b,
):
  """`find` on one device."""
  state = start_search(module, search.penalty, params, source, capacity)
  step = functools.partial(module.step, params)
  if search.beam == 1:
    output = generate(
      step, state, search.sampler, constraint, capacity, key, seed_b, search.n_best,
      module.c.start_id,
    )  # fmt: skip
    n_bw = jnp.maximum(output.length_bw, 1)
    return output._replace(score_bw=search.penalty.normalise(output.logprob_bw, n_bw))
  return beam_search(
    step, state, constraint, capacity, **beam_arguments(module, search)
  )


def beam_arguments(module, search: Search) -> dict[str, Any]:
  """The arguments of `decoding.beam.beam_search` that a search decides, by name."""
  # Near duplicates are removed later, so all of a beam may be needed.
  settled = 1 if search.n_best == 1 and search.penalty.exact else search.beam
  return dict(
    beam=search.beam, penalty=search.penalty, n_best=settled,
    start_id=module.c.start_id, given=len(search.prefix),
  )  # fmt: skip


def start_search(module, penalty: LengthPenalty, params, source: Tokens, capacity: int):
  """The state before the first step, with attention coverage if the penalty needs it.

  Raises:
    ValueError: the penalty needs attention weights, and the model has none.
  """
  state = module.start(params, source, capacity)
  if not penalty.needs_attention:
    return state
  state = state._replace(coverage_bws=initial_coverage(source.seg_bt))
  first_bw = jnp.full(state.coverage_bws.shape[:2], module.c.start_id)
  if jax.eval_shape(module.step, params, first_bw, state)[1].coverage_bws is None:
    raise ValueError(
      f"penalty: {penalty} needs attention to the source, and "
      f"{type(module.c).__name__} has none; take another penalty"
    )
  return state


def compilations() -> int:
  """Programs that this process has compiled for `find`."""
  return find._cache_size()  # type: ignore[attr-defined]


class Searcher:
  """A model with parameters and a search, compiled once per shape.

  `compilations` counts the programs that it has compiled, or fetched from the
  persistent cache: at most one for each of the `declared_shapes`.
  """

  def __init__(
    self,
    module: nn.Module,
    params,
    search: Search,
    tokens: int = 4096,
    devices: Devices = Devices(),
  ):
    """`tokens` bounds source tokens times outputs in the part of a batch that one of
    `devices` computes, which hold `params`."""
    self.module, self.search, self.tokens = module, search, tokens
    self.devices = devices
    self.params = jax.jit(module.unstack)(params)
    self.compilations = 0

  def with_search(self, search: Search) -> "Searcher":
    """The same model and parameters with another search."""
    other = copy.copy(self)
    other.search, other.compilations = search, 0
    return other

  def compile(self, length: int, rows: int) -> None:
    """Compiles the program of a declared shape, without prefixes but the search's own,
    by a search of which no output may have a token."""
    source, constraint, seed_b = self.batch([], [], rows, length)
    self._find(source, constraint, length, 0, seed_b)

  def outputs(self, sources: Sequence[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
    """Searches for every source; yields `(index, its best token ids)` batch by batch,
    not in order.

    A source is its token ids with `EOS`; one of `EOS` alone has an empty output.
    """
    for i, output in self.search_all(sources):
      yield i, np.asarray(output.token_bwt[0])

  def search_all(
    self,
    sources: Sequence[np.ndarray],
    prefixes: Sequence[np.ndarray] | None = None,
    seed: int = 0,
  ) -> Iterator[tuple[int, Output]]:
    """As `outputs`, with all hypotheses and their scores.

    Args:
      sources: token ids with `EOS`.
      prefixes: the first tokens of every output after `search.prefix`, ids without
        `EOS`.
      seed: of sampling; samples depend on it and on the source alone.

    Yields:
      `(index, Output)` with NumPy arrays `[w, …]`, without the axis `b`.
    """
    for i, ids in enumerate(sources):
      if len(ids) <= 1:
        yield i, nothing_found(self.search.width)
    for length, rows, indices in self.groups([len(ids) for ids in sources]):
      batch_prefixes = [prefixes[i] for i in indices] if prefixes else []
      source, constraint, seed_b = self.batch(
        [sources[i] for i in indices], batch_prefixes, rows, length
      )
      output = self._find(source, constraint, length, seed, seed_b)
      for row, i in enumerate(indices):
        yield i, Output(*(array[row] for array in output))

  def _find(self, source: Tokens, constraint: Constraint, length: int, seed, seed_b):
    """`find` of one batch, as NumPy arrays."""
    before = compilations()
    source, constraint, seed_b = self.devices.put((source, constraint, seed_b))
    # Making a key takes programs of its own.
    key = jax.random.key(seed) if self.search.draws else None
    output = find(
      self.module, self.search.program, self.params, source, constraint,
      self.search.limit(length) + 1, key, seed_b, self.devices,
    )  # fmt: skip
    self.compilations += compilations() - before
    return self.devices.fetch(output)

  def groups(self, lengths: Sequence[int]) -> Iterator[Group[int]]:
    """Batches of sources of these lengths in tokens, `EOS` counted, without the empty
    ones."""
    # The slowest sentence of a batch sets its time, so similar lengths share one.
    order = [int(i) for i in np.argsort(lengths, kind="stable") if lengths[i] > 1]
    padded = [SOURCE_LENGTHS.round_up(n) for n in lengths]
    return group(padded, self.row_counts, order)

  def row_counts(self, length: int) -> Sequence[int]:
    """The declared row counts of batches of sources padded to `length` tokens."""
    row_counts = affordable(ROWS, self.tokens, length * self.search.width)
    return [rows * self.devices.count for rows in row_counts]

  def batch(
    self,
    sources: Sequence[np.ndarray],
    prefixes: Sequence[np.ndarray],
    rows: int,
    length: int,
  ) -> tuple[Tokens, Constraint, np.ndarray]:
    """A batch of one shape: sources, limits, and the seed of the samples of each,
    uint32, which depends on the source alone."""
    limit_b = np.zeros(rows, np.int32)
    limit_b[: len(sources)] = [self.search.limit(len(ids) - 1) for ids in sources]
    if first := self.search.prefix:
      given = prefixes or [np.zeros(0, np.int32)] * len(sources)
      prefixes = [np.append(first, ids).astype(np.int32) for ids in given]
    least = self.search.min_length
    longest = max(map(len, prefixes), default=len(self.search.prefix))
    prefix_bt = None
    if longest:
      prefix_bt = jnp.asarray(pad_ids(prefixes, rows, SOURCE_LENGTHS.round_up(longest)))
    seed_b = np.zeros(rows, np.uint32)
    for row, ids in enumerate(sources):
      seed_b[row] = zlib.crc32(np.ascontiguousarray(ids, np.int32).tobytes())
    constraint = Constraint(
      jnp.asarray(limit_b),
      jnp.full(rows, least, jnp.int32) if least else None,
      prefix_bt,
      self.search.suppressed,
    )
    return pad_tokens(sources, rows, length), constraint, seed_b

  def texts(self, texts: Sequence[str], tokenizer: Tokenizer, progress=None):
    """Every text's output, in order; an empty text gives an empty text.

    `progress`, if not None, is called with 1 for every text finished.
    """
    outputs = [""] * len(texts)
    for i, ids in self.outputs(tokenizer.encode_sources(texts)):
      if len(ids):
        outputs[i] = tokenizer.decode([ids])[0]
      if progress is not None:
        progress(1)
    return outputs


def declared_shapes(longest: int, tokens: int, width: int) -> set[tuple[int, int]]:
  """Every `(length, rows)` of batches of sources of up to `longest` tokens, in searches
  with `width` outputs a sentence on one device."""
  return {
    (length, rows)
    for length in SOURCE_LENGTHS.up_to(longest)
    for rows in affordable(ROWS, tokens, length * width)
  }


def nothing_found(w: int) -> Output:
  """The outputs of an empty source: `w` hypotheses that do not exist."""
  return Output(*(np.asarray(array)[0] for array in nothing(1, w, 0)))
