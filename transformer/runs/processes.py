"""The processes of one run: found together, stopped at one step, left at once."""

import contextlib
import fcntl
import os
import signal
import socket
import sys
from pathlib import Path
from typing import IO

import jax
from jax.experimental import multihost_utils

INTERRUPTED = 143
"""Exit status after SIGTERM: the state was saved, and the same command goes on."""

PATIENCE = 30
"""Seconds after which a process that is heard of no more counts as gone."""


def join(
  address: str | None = None, processes: int | None = None, process: int | None = None
) -> None:
  """Joins the other processes of the run; before any computation.

  With nothing given, JAX asks the cluster: SLURM, Open MPI, Kubernetes, a TPU pod.

  Args:
    address: `host:port` of process 0.
    processes: how many there are.
    process: which one this is, from 0.

  Raises:
    ValueError: they cannot be found, or not all came in time.
  """
  try:
    jax.distributed.initialize(
      address, processes, process, initialization_timeout=300,
      heartbeat_timeout_seconds=PATIENCE, shutdown_timeout_seconds=PATIENCE,
    )  # fmt: skip
  except (RuntimeError, ValueError) as error:
    line = str(error).partition("\n")[0]
    raise ValueError(
      f"the run's other processes cannot be joined ({line}); give --coordinator, "
      "--processes and --process, the same first two to each"
    ) from None


def is_primary() -> bool:
  """Whether this is the process that writes."""
  return jax.process_index() == 0


def barrier(place: str) -> None:
  """Waits until every process has come to `place`."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(place)


def exit(status: int) -> None:
  """Ends the process. One of several goes at once, without the barrier at which JAX
  would wait for those that cannot come any more."""
  if jax.process_count() > 1 and status not in (0, INTERRUPTED):
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
  sys.exit(status)


class Interrupt:
  """Turns SIGTERM into an answer that is the same in every process at a step."""

  def __init__(self):
    self.raised = False
    self._breaks = False

  def __enter__(self):
    # Of several, JAX's own service passes the notice round.
    if jax.process_count() == 1:
      self._before = signal.signal(signal.SIGTERM, self._note)
    return self

  def __exit__(self, *_):
    if jax.process_count() == 1:
      signal.signal(signal.SIGTERM, self._before)

  def _note(self, *_):
    self.raised = True
    if self._breaks:
      raise InterruptedError

  @contextlib.contextmanager
  def raising(self):
    """A context in which SIGTERM raises InterruptedError at once, for work that takes
    long and changes nothing. Several processes, which could not leave it at one and the
    same place, go through with it."""
    self._breaks = True
    try:
      yield
    finally:
      self._breaks = False

  def at(self, step: int) -> bool:
    """Whether to stop after `step`; every process asks at every step."""
    if jax.process_count() > 1:
      self.raised |= multihost_utils.reached_preemption_sync_point(step)
    return self.raised


class Lock:
  """Holds a directory, made if need be, for the processes of one run; the system lets
  go by itself when a process ends, however it does. What stays empty is removed."""

  NAME = ".lock-"

  def __init__(self, directory: Path):
    self._directory = Path(directory)

  def _path(self, process: int) -> Path:
    return self._directory / f"{self.NAME}{process}"

  def __enter__(self):
    """Raises ValueError if another run's process holds the directory."""
    self._directory.mkdir(parents=True, exist_ok=True)
    self._file = self._path(jax.process_index()).open("a+")
    if not _taken(self._file):
      self._file.seek(0)
      holder = self._file.read().strip() or "another process"
      self._file.close()
      raise ValueError(
        f"{self._directory}: {holder} trains here already; stop it, or choose another "
        "--workdir"
      )
    self._file.truncate(0)
    self._file.write(f"process {os.getpid()} on {socket.gethostname()}")
    self._file.flush()
    return self

  def __exit__(self, *_):
    with contextlib.suppress(OSError):
      if all(entry.name.startswith(self.NAME) for entry in self._directory.iterdir()):
        self._path(jax.process_index()).unlink()
        self._directory.rmdir()
    self._file.close()

  def gone(self) -> list[int]:
    """Those of this run's processes that have ended, as far as their locks tell."""
    found = []
    for process in range(jax.process_count()):
      if process != jax.process_index() and self._path(process).exists():
        with self._path(process).open("a+") as file:
          if _taken(file):
            found.append(process)
    return found


def _taken(file: IO) -> bool:
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except OSError:
    return False
  return True
