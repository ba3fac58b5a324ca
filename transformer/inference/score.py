"""Log-probabilities of given outputs, batch by batch."""

import functools
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from transformer.batch import PAD
from transformer.decoding import teacher_forcing as force
from transformer.decoding.penalty import LengthPenalty
from transformer.inference.batches import affordable, group, pad_ids, pad_tokens
from transformer.inference.devices import Devices
from transformer.inference.search import ROWS, SOURCE_LENGTHS, Searcher, start_search


@functools.partial(jax.jit, static_argnames=("module", "penalty", "devices"))
def score(module, penalty: LengthPenalty, params, source, target_bt, devices=Devices()):
  """Log-probabilities `[b, t]` of one batch, as `decoding.teacher_forcing.score`
  returns them, and scores `[b]` under a penalty."""

  def score_rows_of(params, rows):
    return score_rows(module, penalty, params, *rows)

  return devices.split_rows(score_rows_of)(params, (source, target_bt))


def score_rows(module, penalty: LengthPenalty, params, source, target_bt):
  """`score` on one device."""
  state = start_search(module, penalty, params, source, target_bt.shape[1])
  step = functools.partial(module.step, params)
  token_logprob_bt, coverage_bws = force.score(
    step, state, target_bt, module.c.start_id
  )
  n_b = jnp.maximum(jnp.sum(target_bt != PAD, axis=1), 1)
  coverage_bs = coverage_bws[:, 0] if penalty.needs_attention else None
  return token_logprob_bt, penalty.normalise(
    jnp.sum(token_logprob_bt, axis=1), n_b, coverage_bs
  )


def score_targets(
  searcher: Searcher, sources: Sequence[np.ndarray], targets: Sequence[np.ndarray]
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
  """Log-probabilities in nats of the tokens of given outputs, and their scores.

  They come from the decoding steps of the searcher's model under its search's penalty,
  so they are those that its search computes for the same outputs; limits do not apply.

  Args:
    searcher: model and parameters.
    sources: token ids with `EOS`.
    targets: token ids with `EOS`, one for each source.

  Yields:
    `(index, log-probabilities [t], score)`, batch by batch, not in order.

  Raises:
    ValueError: the penalty needs attention weights, and the model has none.
  """
  lengths = [
    padded_length(len(source), len(target))
    for source, target in zip(sources, targets, strict=True)
  ]

  def row_counts(length: int) -> Sequence[int]:
    rows = affordable(ROWS, searcher.tokens, length)
    return [count * searcher.devices.count for count in rows]

  for length, rows, indices in group(lengths, row_counts):
    token_logprob_bt, score_b = score_batch(
      searcher, [sources[i] for i in indices], [targets[i] for i in indices], rows,
      length,
    )  # fmt: skip
    for row, i in enumerate(indices):
      yield i, token_logprob_bt[row, : len(targets[i])], score_b[row]


def padded_length(source: int, target: int) -> int:
  """The declared length that both sides of a pair with so many tokens are padded to:
  one for both, since a program for each pair of lengths would be many."""
  return SOURCE_LENGTHS.round_up(max(source, target))


def compile_score(searcher: Searcher, length: int, rows: int) -> None:
  """Compiles the program of a declared shape, by a batch of padding."""
  score_batch(searcher, [], [], rows, length)


def score_batch(
  searcher: Searcher,
  sources: Sequence[np.ndarray],
  targets: Sequence[np.ndarray],
  rows: int,
  length: int,
) -> tuple[np.ndarray, np.ndarray]:
  """`score` of one batch of `rows` rows and `length` tokens, as NumPy arrays."""
  devices = searcher.devices
  source, target_bt = devices.put(
    (pad_tokens(sources, rows, length), pad_ids(targets, rows, length))
  )
  return devices.fetch(
    score(
      searcher.module, searcher.search.penalty, searcher.params, source, target_bt,
      devices,
    )
  )  # fmt: skip
