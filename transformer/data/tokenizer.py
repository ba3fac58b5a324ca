"""The base classes of tokenizers: text to ids and back, and how text becomes tokens."""

import abc
import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from transformer.config import Positive


class Tokenizer(abc.ABC):
  """Text to ids and back, opened.

  Attributes:
    model: the contents of its file in a run.
    sha256: the digest of `model`.
  """

  model: bytes
  sha256: str

  @property
  @abc.abstractmethod
  def size(self) -> int:
    """The number of ids."""

  @abc.abstractmethod
  def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
    """int32 ids of every text, as the target of a translation or as a text of any other
    use. Each ends in `EOS`; a blank text (`data.text`) is `EOS` alone.

    Raises:
      ValueError: a text is not Unicode.
    """

  def encode_sources(self, texts: Sequence[str]) -> list[np.ndarray]:
    """As `encode`, for the sources of translations."""
    return self.encode(texts)

  @abc.abstractmethod
  def decode(self, sequences: Iterable[Any]) -> list[str]:
    """The text of every sequence of ids, up to its first `EOS`."""

  @abc.abstractmethod
  def pieces(self, ids: Sequence[int]) -> list[str]:
    """The piece that every id stands for."""

  @abc.abstractmethod
  def id(self, piece: str) -> int:
    """The id of a piece of the vocabulary.

    Raises:
      ValueError: there is no such piece.
    """

  @property
  def prefix(self) -> tuple[int, ...]:
    """The ids that every target begins with, such as its language; they are part of
    what `encode` returns.

    Raises:
      ValueError: the target language is not known yet.
    """
    return ()

  @property
  def languages(self) -> tuple[str, ...]:
    """The codes of the languages to choose from; none where there is nothing to
    choose."""
    return ()

  @property
  def fingerprint(self) -> str:
    """A digest of all that decides which ids a text has."""
    return self.sha256

  def training_copies(self, seed: int) -> tuple["Tokenizer", ...]:
    """The tokenizers of the copies of a training text, which a run of this seed is
    trained on in place of the text: this one alone, where no text is divided at
    random."""
    return (self,)

  def with_recipe(self, recipe: "TokenizerRecipe") -> "Tokenizer":
    """The same model, opened by another recipe of its own kind."""
    return recipe.open(self.model)


@dataclasses.dataclass(frozen=True)
class TokenizerRecipe(abc.ABC):
  """How text becomes tokens.

  Attributes:
    vocabulary: number of ids, those of the special tokens included.
  """

  vocabulary: Positive = 8000

  @property
  def divides_at_random(self) -> bool:
    """Whether a training text becomes several copies (`Tokenizer.training_copies`)."""
    return False

  def check(self) -> None:  # noqa: B027
    """Raises ValueError if one setting has no effect because of another. Settings given
    one after another need not fit before all are there."""

  @abc.abstractmethod
  def train(self, texts: Iterable[str]) -> bytes:
    """A model trained on texts, as bytes for `open`.

    Raises:
      ValueError: it cannot be trained on them.
    """

  @abc.abstractmethod
  def open(self, model: bytes) -> Tokenizer:
    """Opens the contents of a tokenizer's file.

    Raises:
      ValueError: these bytes are no such model.
    """

  def inherit(self, parent: "TokenizerRecipe") -> "TokenizerRecipe":
    """The recipe of a run that takes its vocabulary from a run of `parent`; with this
    recipe's own choice of languages or of random division, where both have one."""
    return parent

  def with_languages(
    self, tokenizer: Tokenizer, source: str | None, target: str | None
  ) -> "TokenizerRecipe":
    """The recipe with other languages; None leaves one as it is.

    Args:
      tokenizer: opened by this recipe.
      source, target: codes, in the model's own form or of ISO 639.

    Raises:
      ValueError: there is no such language, or nothing to choose.
    """
    for flag, language in (
      ("--source-language", source),
      ("--target-language", target),
    ):
      if language is not None:
        raise ValueError(
          f"{flag} {language}: this run's tokenizer has no languages to choose from; "
          "leave the flag out"
        )
    return self
