"""Lines on standard error."""

import functools
import sys


@functools.cache
def print_once(line: str) -> None:
  """Prints a line on stderr, above a progress bar, the first time only."""
  import tqdm

  tqdm.tqdm.write(line, file=sys.stderr)
