"""What a planted fault is."""

from typing import NamedTuple


class Fault(NamedTuple):
  """A small change that makes the package wrong.

  Attributes:
    name: for the command line.
    what: what is wrong.
    file: the file of the package that is changed.
    before, after: the text that is replaced, which occurs once, and its replacement.
    tests: the pytest node ids of fast tests, one of which must fail.
  """

  name: str
  what: str
  file: str
  before: str
  after: str
  tests: tuple[str, ...]
