"""Files that a user names to be written: each is there whole or not at all, and nothing
but a regular file is ever replaced."""

import contextlib
import fcntl
import os
import re
import shutil
import stat
from pathlib import Path
from typing import BinaryIO


class OutputFile:
  """A file that appears under its name when it is complete; a context manager.

  Until then its bytes are in `NAME.part` beside it, which an error removes and no other
  process may write; what one that was killed left there is replaced. An existing file
  keeps its mode, and one behind a symbolic link is replaced there, so that the
  link stays. A device, a FIFO or a descriptor of this process (`/dev/fd/63`, as in
  `>(gzip)`) is written through.
  """

  def __init__(self, path: Path | str):
    """Raises OSError if the path can never be written, as a directory."""
    self.path = Path(path)
    self.target = Path(os.path.realpath(self.path))
    self._scratch: Path | None = None
    self._lock: int | None = None
    self._descriptor = open_descriptor(self.path)
    try:
      self._old: os.stat_result | None = os.stat(self.path)
    except FileNotFoundError:
      self._old = None
    except OSError as error:
      raise self._cannot_be_written(error.strerror) from None
    if self._descriptor is not None:
      return
    if self._old is None:
      if not self.target.parent.is_dir():
        raise self._cannot_be_written("No such file or directory")
    elif stat.S_ISDIR(self._old.st_mode):
      raise self._cannot_be_written("it is a directory; name a file")
    elif not os.access(self.path, os.W_OK):
      raise self._cannot_be_written("Permission denied")
    if self._is_regular() and not os.access(self.target.parent, os.W_OK):
      raise self._cannot_be_written("Permission denied for its directory")

  @property
  def is_replaced(self) -> bool:
    """Whether there is a regular file under the name already, which would be lost."""
    return self._descriptor is None and self._old is not None and self._is_regular()

  def __enter__(self) -> BinaryIO:
    try:
      self._file = self._open()
    except OSError as error:
      raise self._cannot_be_written(error.strerror) from None
    return self._file

  def __exit__(self, kind, *_):
    try:
      if kind is None:
        self._file.close()
        if self._scratch is not None:
          self._replace()
        return
      with contextlib.suppress(OSError):
        self._file.close()
      if self._scratch is not None and issubclass(kind, Exception):
        self._scratch.unlink(missing_ok=True)
    except BrokenPipeError:
      raise
    except OSError as error:
      raise self._cannot_be_written(error.strerror) from None
    finally:
      if self._lock is not None:
        os.close(self._lock)
        self._lock = None

  def write(self, data: bytes) -> None:
    """Writes the whole file.

    Raises:
      OSError: it cannot be written.
    """
    with self as file:
      try:
        file.write(data)
      except BrokenPipeError:
        raise
      except OSError as error:
        raise self._cannot_be_written(error.strerror) from None

  def _is_regular(self) -> bool:
    return self._old is None or stat.S_ISREG(self._old.st_mode)

  def _open(self) -> BinaryIO:
    if self._descriptor is not None:
      # Opening /dev/fd/1 anew would begin at the start of a file that a shell opened.
      return os.fdopen(os.dup(self._descriptor), "wb")
    if not self._is_regular():
      return self.path.open("wb")
    scratch = self.target.with_name(f"{self.target.name}.part")
    if os.path.lexists(scratch):
      # Left by a job that was killed; of another kind, it is not ours to replace.
      if not stat.S_ISREG(os.lstat(scratch).st_mode):
        raise FileExistsError(0, f"{scratch} is not a regular file")
      with scratch.open("rb") as left:
        lock(left, scratch)
        scratch.unlink()
    file = scratch.open("xb")
    lock(file, scratch)
    # Closing the file, which may fail, keeps the lock until it has its name.
    self._lock, self._scratch = os.dup(file.fileno()), scratch
    if self._old is not None:
      with contextlib.suppress(OSError):  # only root may give files away
        os.chown(self._scratch, self._old.st_uid, self._old.st_gid)
      os.chmod(self._scratch, stat.S_IMODE(self._old.st_mode))
    return file

  def _replace(self) -> None:
    assert self._scratch is not None
    try:
      os.replace(self._scratch, self.target)
    except OSError:
      # A file that is mounted by itself, as in a container, can be written but not
      # replaced.
      if self._old is None:
        raise
      shutil.copyfile(self._scratch, self.target)
      self._scratch.unlink()

  def _cannot_be_written(self, reason: str | None) -> OSError:
    return OSError(f"{self.path}: cannot be written ({reason})")


def lock(file: BinaryIO, path: Path) -> None:
  """Locks a file until it is closed.

  Raises:
    BlockingIOError: another process holds it, or has just replaced it under `path`.
  """
  held = False
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    held = True
  except OSError:
    pass  # a file system without locks
  if held or not is_at(file, path):
    raise BlockingIOError(
      0, f"another process writes {path.name}; wait for it, or stop it"
    )


def is_at(file: BinaryIO, path: Path) -> bool:
  """Whether an open file is still the one under a name."""
  try:
    return os.path.samestat(os.fstat(file.fileno()), os.lstat(path))
  except FileNotFoundError:
    return False


def write_file(path: Path | str, data: bytes) -> None:
  """Writes a file that a user named, as `OutputFile` does."""
  OutputFile(path).write(data)


def open_descriptor(path: Path) -> int | None:
  """The number of the open file of this process that a path such as `/dev/stdout` or
  `/dev/fd/63` names; None if it names none."""
  own = re.compile(rf"(?:/proc/{os.getpid()}(?:/task/\d+)?|/dev)/fd/(\d+)")
  seen = 0
  while seen < 40:  # as many links as Linux follows
    parent = os.path.realpath(path.parent)
    if found := own.fullmatch(f"{parent}/{path.name}"):
      return int(found[1])
    if not path.is_symlink():
      return None
    path, seen = Path(parent, os.readlink(path)), seen + 1
  return None
