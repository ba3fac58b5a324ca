"""The directory of a run or a study: claimed by one program at a time, its files read
and written whole."""

import contextlib
import fcntl
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import jax


def write_atomic(path: Path, data: bytes) -> None:
  """Writes a file so that it is there whole or not at all.

  Raises:
    OSError: it cannot be written; with its name, and `errno`.
  """
  scratch = path.with_name(f".{path.name}.{os.getpid()}")
  try:
    scratch.write_bytes(data)
    os.replace(scratch, path)
  except OSError as error:
    with contextlib.suppress(OSError):
      scratch.unlink()
    raise OSError(error.errno, error.strerror, str(path)) from None


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
  """A new directory beside `path`, which takes its name when the context ends well and
  is removed when it does not.

  Raises:
    OSError: it cannot be made.
  """
  scratch = path.with_name(f".{path.name}.{os.getpid()}")
  try:
    scratch.mkdir(parents=True)
  except OSError as error:
    raise OSError(f"{path}: cannot be written ({error.strerror})") from None
  try:
    yield scratch
    os.replace(scratch, path)
  finally:
    shutil.rmtree(scratch, ignore_errors=True)


def check_inside(path: Path, name: str) -> None:
  """Raises ValueError if a part of a run lies outside of it."""
  if not (path / name).resolve().is_relative_to(path.resolve()):
    raise ValueError(
      f"{path}: {name} is a link out of the run; a run is complete in itself, so "
      "copy what it points to"
    )


def read_inside(path: Path, name: str) -> bytes:
  """The bytes of a run's own file.

  Raises:
    FileNotFoundError: there is none.
    ValueError: it lies outside the run.
  """
  check_inside(path, name)
  try:
    return (path / name).read_bytes()
  except (FileNotFoundError, NotADirectoryError):
    raise FileNotFoundError(
      f"{path}: not a run (it has no {name}); train one with: python train.py "
      f"--workdir {path}"
    ) from None


class Lock:
  """Holds a directory, made if need be, for the processes of one run. The system
  releases it when the process ends, however it does. What stays empty is removed."""

  NAME = ".lock-"

  def __init__(self, directory: Path):
    self._directory = Path(directory)

  def _path(self, process: int) -> Path:
    return self._directory / f"{self.NAME}{process}"

  def __enter__(self):
    """Raises ValueError if another run's process holds the directory."""
    self._directory.mkdir(parents=True, exist_ok=True)
    self._file = self._path(jax.process_index()).open("a+")
    if not _acquire(self._file):
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

  def ended_processes(self) -> list[int]:
    """Those of this run's processes that have ended, judged by their locks."""
    ended = []
    for process in range(jax.process_count()):
      if process != jax.process_index() and self._path(process).exists():
        with self._path(process).open("a+") as file:
          if _acquire(file):
            ended.append(process)
    return ended


@contextlib.contextmanager
def claim(directory: Path, marker: str, kind: str) -> Iterator[Lock]:
  """Locks a directory that is new, empty or has the file `marker`, which every
  directory of its `kind` ("run", "study") has.

  Raises:
    ValueError: it is something else, or another process holds it.
  """
  if directory.exists() and not (directory / marker).is_file():
    entries = directory.iterdir() if directory.is_dir() else [directory]
    if not all(entry.name.startswith(Lock.NAME) for entry in entries):
      raise ValueError(
        f"{directory}: not a {kind} and not empty; choose another --workdir or empty it"
      )
  with Lock(directory) as lock:
    yield lock


def _acquire(file: IO) -> bool:
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except OSError:
    return False
  return True
