"""How probable given outputs are, for many sentences at a time."""

import functools
import itertools
from collections.abc import Iterator, Sequence

import jax
import numpy as np

from transformer.decoding import force
from transformer.tasks.search import ROWS, Searcher, declared_length


@functools.partial(jax.jit, static_argnames=("module",))
def score(module, params, source, target_bt):
  """Log-probabilities `[b, t]` of one batch; see `decoding.force.score`."""
  state = module.start(params, source, target_bt.shape[1])
  return force.score(functools.partial(module.step, params), state, target_bt)


def forced(
  searcher: Searcher, sources: Sequence[np.ndarray], targets: Sequence[np.ndarray]
) -> Iterator[tuple[int, np.ndarray]]:
  """Log-probabilities in nats of the tokens of given outputs.

  They are computed by the steps of the searcher's model, and so are what its search
  would have said of them; its limits do not count.

  Args:
    searcher: model and parameters.
    sources: token ids with `EOS`.
    targets: token ids with `EOS`, one for each source.

  Yields:
    `(index, log-probabilities [t])`, batch by batch, not in order.
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
      gain_bt = np.asarray(score(searcher.module, searcher.params, source, target_bt))
      for row, i in enumerate(chosen):
        yield i, gain_bt[row, : len(targets[i])]
