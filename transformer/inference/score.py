"""How probable given outputs are, for many sentences at a time."""

import functools
import itertools
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from transformer.batch import PAD
from transformer.decoding import teacher_forcing as force
from transformer.decoding.penalty import LengthPenalty
from transformer.inference.search import ROWS, Searcher, begin, declared_length


@functools.partial(jax.jit, static_argnames=("module", "penalty"))
def score(module, penalty: LengthPenalty, params, source, target_bt):
  """Log-probabilities `[b, t]` of one batch, see `decoding.force.score`, and scores
  `[b]` under a penalty."""
  state = begin(module, penalty, params, source, target_bt.shape[1])
  step = functools.partial(module.step, params)
  token_logprob_bt, coverage_bws = force.score(step, state, target_bt)
  n_b = jnp.maximum(jnp.sum(target_bt != PAD, axis=1), 1)
  coverage_bs = coverage_bws[:, 0] if penalty.needs_attention else None
  return token_logprob_bt, penalty.normalise(
    jnp.sum(token_logprob_bt, axis=1), n_b, coverage_bs
  )


def forced(
  searcher: Searcher, sources: Sequence[np.ndarray], targets: Sequence[np.ndarray]
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
  """Log-probabilities in nats of the tokens of given outputs, and their scores.

  They are computed by the steps of the searcher's model under its search's penalty, and
  so are what its search would have said of them; its limits do not count.

  Args:
    searcher: model and parameters.
    sources: token ids with `EOS`.
    targets: token ids with `EOS`, one for each source.

  Yields:
    `(index, log-probabilities [t], score)`, batch by batch, not in order.

  Raises:
    ValueError: the penalty watches, and the model does not say what it attends to.
  """

  def shape(i: int) -> tuple[int, int]:
    return declared_length(len(sources[i])), declared_length(len(targets[i]))

  order = sorted(range(len(sources)), key=shape)
  for (length, steps), group in itertools.groupby(order, shape):
    alike = list(group)
    room = max(searcher.tokens // max(length, steps), 1)
    most = max(rows for rows in ROWS if rows <= room)
    for start in range(0, len(alike), most):
      chosen = alike[start : start + most]
      rows = next(rows for rows in ROWS if rows >= len(chosen))
      source, _ = searcher.pad([sources[i] for i in chosen], rows, length)
      target_bt = np.zeros((rows, steps), np.int32)
      for row, i in enumerate(chosen):
        target_bt[row, : len(targets[i])] = targets[i]
      found = score(
        searcher.module, searcher.search.penalty, searcher.params, source, target_bt
      )
      token_logprob_bt, score_b = map(np.asarray, found)
      for row, i in enumerate(chosen):
        yield i, token_logprob_bt[row, : len(targets[i])], score_b[row]
