"""Standard streams that are closed, full, broken or of another encoding."""

import argparse
import io
import os
import signal
import sys
from pathlib import Path
from typing import TextIO


def prepare() -> None:
  """Makes standard output UTF-8, and closed standard streams harmless."""
  for descriptor in range(3):
    try:
      os.fstat(descriptor)
    except OSError:
      # The next file that is opened would get this number, and what libraries print
      # would go into it.
      os.open(os.devnull, os.O_RDWR)
  if sys.stderr is None:
    sys.stderr = discard()
  if isinstance(sys.stdout, io.TextIOWrapper):
    # A file name need not be UTF-8, and is printed as it was given.
    sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")


def discard() -> TextIO:
  """A stream that nobody reads, open for as long as the process is."""
  return Path(os.devnull).open("w", encoding="utf-8")


def check_output(arguments: argparse.Namespace) -> None:
  """Raises OSError where a verb would print, and standard output is closed."""
  if getattr(arguments, "output", None) is None:
    check_open()
  elif sys.stdout is None:
    sys.stdout = discard()


def check_open() -> None:
  """Raises OSError if standard output is closed."""
  if sys.stdout is None:
    raise OSError("standard output: cannot be written (it is closed)")


def flush() -> None:
  """Writes what standard output still buffers.

  Raises:
    OSError: it cannot be written.
  """
  if sys.stdout is None:
    return
  try:
    sys.stdout.flush()
  except BrokenPipeError:
    raise
  except OSError as error:
    discard_output()
    raise OSError(f"standard output: cannot be written ({error.strerror})") from None


def describe(error: Exception) -> str:
  """The message of an error, on one line; of one of the system, where and why."""
  text = str(error)
  if isinstance(error, OSError) and error.strerror:
    text = f"{error.filename}: {error.strerror}"
    if error.filename is None:  # what printing raises
      discard_output()
      text = f"standard output: cannot be written ({error.strerror})"
  return text.replace("\n", "\\n")


def discard_output() -> None:
  """Lets go of what cannot be written, which the end of the process would try again."""
  descriptor = os.open(os.devnull, os.O_WRONLY)
  os.dup2(descriptor, 1)
  os.close(descriptor)


def die_of_broken_pipe() -> int:
  """Ends the process as SIGPIPE ends others, silently; the exit status where the signal
  is blocked."""
  discard_output()
  signal.signal(signal.SIGPIPE, signal.SIG_DFL)
  os.kill(os.getpid(), signal.SIGPIPE)
  return 128 + signal.SIGPIPE
