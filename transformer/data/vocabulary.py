"""A list of names with ids: the classes of a set of images, the words of a language
without word parts."""

import hashlib
import json
from collections.abc import Iterable
from typing import Protocol


class Vocabulary(Protocol):
  """What a run keeps so that its task can read inputs and write outputs."""

  model: bytes
  """All of it, as it lies in the run."""
  sha256: str
  """The digest of `model`."""

  @property
  def size(self) -> int:
    """How many ids there are."""


class WordVocabulary:
  """WordVocabulary in order; the id of each is its place."""

  def __init__(self, model: bytes):
    """Opens what `write` gave.

    Raises:
      ValueError: these bytes are no such list.
    """
    try:
      names = json.loads(model.decode("utf-8"))
    except ValueError:
      names = None
    whole = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not whole or len(set(names)) != len(names):
      raise ValueError("names: the list is damaged")
    self.model, self.names = model, tuple(names)
    self.sha256 = hashlib.sha256(model).hexdigest()
    self._ids = {name: i for i, name in enumerate(names)}

  @staticmethod
  def write(names: Iterable[str]) -> bytes:
    """The names as bytes for `WordVocabulary`."""
    return json.dumps(list(names), ensure_ascii=False).encode()

  @property
  def size(self) -> int:
    return len(self.names)

  def id(self, name: str) -> int | None:
    """The id of a name; None if it is not in the list."""
    return self._ids.get(name)
