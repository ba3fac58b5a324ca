"""Where what can be made again is kept."""

import atexit
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
"""Errors of a directory that others own, or that is mounted to be read."""


def user_cache() -> Path | None:
  """The user's cache directory of this package (XDG Base Directory Specification); None
  for a user without a home."""
  base = Path(os.path.expanduser(os.environ.get("XDG_CACHE_HOME") or "~/.cache"))
  return base / "transformer" if base.is_absolute() else None


def places(cache: Path) -> Iterator[Path]:
  """Directories to keep something in, of which the first that can be written is used:
  `cache`, which may belong to somebody else, the user's where it can be made, or one
  that is removed when the process ends."""
  yield cache
  user = user_cache()
  if user is not None and _is_made(user / "tokens"):
    yield user / "tokens"
  temporary = Path(tempfile.mkdtemp(prefix="transformer-"))
  atexit.register(shutil.rmtree, temporary, ignore_errors=True)
  yield temporary


def _is_made(directory: Path) -> bool:
  """Makes a directory; False where that cannot be, as below a file."""
  try:
    directory.mkdir(parents=True, exist_ok=True)
  except OSError:
    return False
  return True
