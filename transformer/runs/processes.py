"""The processes of one run: how they join, stop at the same step, and exit."""

import contextlib
import os
import signal
import sys

import jax
from jax.experimental import multihost_utils

INTERRUPTED = 143
"""Exit status after SIGTERM: the state was saved, and the same command resumes."""

HEARTBEAT_TIMEOUT = 30
"""Seconds without a heartbeat after which a process counts as gone."""


def join(
  address: str | None = None, processes: int | None = None, process: int | None = None
) -> None:
  """Joins the other processes of the run; before any computation.

  Without arguments, JAX asks the cluster: SLURM, Open MPI, Kubernetes, a TPU pod.

  Args:
    address: `host:port` of process 0.
    processes: how many there are.
    process: which one this is, from 0.

  Raises:
    ValueError: they cannot be reached, or not all joined in time.
  """
  try:
    jax.distributed.initialize(
      address,
      processes,
      process,
      initialization_timeout=300,
      heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT,
      shutdown_timeout_seconds=HEARTBEAT_TIMEOUT,
    )
  except (RuntimeError, ValueError) as error:
    line = str(error).partition("\n")[0]
    raise ValueError(
      f"the run's other processes cannot be joined ({line}); give --coordinator, "
      "--processes and --process, the same first two to each"
    ) from None


def is_primary() -> bool:
  """Whether this is the process that writes."""
  return jax.process_index() == 0


def barrier(name: str) -> None:
  """Waits until every process has reached the barrier of this name."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(name)


def exit(status: int) -> None:
  """Ends the process. One of several exits at once, without the barrier at which JAX
  would wait for those that have died."""
  if jax.process_count() > 1 and status not in (0, INTERRUPTED):
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
  sys.exit(status)


class Interrupt:
  """Turns SIGTERM into a decision to stop, the same in every process at a step."""

  def __init__(self):
    self.raised = False
    self._raises = False

  def __enter__(self):
    # With several processes, JAX's preemption service forwards the notice.
    if jax.process_count() == 1:
      self._previous = signal.signal(signal.SIGTERM, self._handle)
    return self

  def __exit__(self, *_):
    if jax.process_count() == 1:
      signal.signal(signal.SIGTERM, self._previous)

  def _handle(self, *_):
    self.raised = True
    if self._raises:
      raise InterruptedError

  @contextlib.contextmanager
  def raising(self):
    """A context in which SIGTERM raises InterruptedError at once, for work that takes
    long and changes nothing. Several processes, which would not leave it at the same
    point, finish it."""
    self._raises = True
    try:
      yield
    finally:
      self._raises = False

  def should_stop(self, step: int) -> bool:
    """Whether to stop after `step`; every process must ask at every step."""
    if jax.process_count() > 1:
      self.raised |= multihost_utils.reached_preemption_sync_point(step)
    return self.raised
