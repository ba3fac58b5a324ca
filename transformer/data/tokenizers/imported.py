"""Tokenizers of models that were trained elsewhere: what all kinds have in common.

A kind is a recipe, named as its class in Hugging Face's transformers. It opens the
files of such a tokenizer, gives the ids that the class gives, and decodes them to the
same text; `tests/data/test_imported_tokenizers.py` compares them. Special tokens in a
text are those tokens, as there.
"""

import abc
import copy
import dataclasses
import functools
import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np

from transformer.batch import BOS, EOS, PAD, UNK
from transformer.data.id_order import ABSENT, IdOrder, id_order
from transformer.data.text import readable
from transformer.data.tokenizer import Tokenizer, TokenizerRecipe
from transformer.data.tokenizers.files import Files, settings, unpack
from transformer.data.tokenizers.languages import find_language


class Backend(Protocol):
  """Text to ids and back in the imported order, without tokens around the text."""

  @property
  def size(self) -> int:
    """One more than the largest id."""

  def encode(self, texts: Sequence[str]) -> list[list[int]]:
    """Ids of targets, or of texts of any kind."""

  def encode_sources(self, texts: Sequence[str]) -> list[list[int]]:
    """Ids of sources."""

  def decode(self, sequences: Sequence[list[int]]) -> list[str]:
    """Texts, without special tokens."""

  def piece(self, their_id: int) -> str | None:
    """The piece of an id; None if it has none."""

  def id(self, piece: str) -> int | None:
    """The id of a piece; None if there is no such piece."""


@dataclasses.dataclass(frozen=True)
class ImportedTokenizer(TokenizerRecipe):
  """A tokenizer of a model that was trained elsewhere; `transformer convert` sets it.

  Attributes:
    vocabulary: number of ids: the rows of the model's embedding, and one for each of
      this project's special tokens that the model lacks.
  """

  specials: ClassVar[dict[str, tuple[str, str | None]]] = {
    "pad": ("pad_token", "<pad>"),
    "eos": ("eos_token", "</s>"),
    "bos": ("bos_token", "<s>"),
    "unk": ("unk_token", "<unk>"),
  }
  """For each special token of this project the setting that names the imported one, and
  its default; None where the model has no such token."""

  names: ClassVar[tuple[str, ...]] = ()
  """Other names of its class."""

  def train(self, texts: Iterable[str]) -> bytes:
    name = type(self).__name__
    raise ValueError(
      f"--config.tokenizer: {name} comes with a converted model and is not trained; "
      "give that run as --config.init, or take SentencePiece()"
    )

  @abc.abstractmethod
  def backend(self, files: Files) -> Backend:
    """Opens the files.

    Raises:
      ValueError: one is missing or damaged.
    """

  def source_prefix(self) -> tuple[str, ...]:
    """The pieces before every source."""
    return ()

  def target_prefix(self) -> tuple[str, ...]:
    """The pieces before every target."""
    return ()

  def languages(self, backend: Backend) -> tuple[str, ...]:
    """The codes of the model's languages, where it has several."""
    return ()

  def check_languages(self, languages: Sequence[str]) -> None:
    """Raises ValueError where this recipe names a language that the model lacks."""

  def of_directory(self, config: dict[str, Any], files: Files) -> "ImportedTokenizer":
    """This recipe with the settings of a directory.

    Args:
      config: its config.json.
      files: of its tokenizer.
    """
    size = config.get("vocab_size")
    if type(size) is not int or size < 1:
      raise ValueError(f"config.json: vocab_size: expected a number of ids, got {size}")
    ids = self.special_ids(files, self.backend(files))
    lacking = 4 - len({i for i in ids.values() if i is not None})
    return dataclasses.replace(self, vocabulary=size + lacking)

  def special_ids(self, files: Files, backend: Backend) -> dict[str, int | None]:
    """The imported ids of this project's special tokens.

    Raises:
      ValueError: the vocabulary has not the token that ends a text.
    """
    stated, ids = settings(files), {}
    for role, (setting, default) in self.specials.items():
      token = stated.get(setting)
      if default is None or not isinstance(token, str):
        token = default
      ids[role] = None if token is None else backend.id(token)
    if ids["eos"] is None:
      setting, default = self.specials["eos"]
      token = stated.get(setting) or default
      raise ValueError(
        f"tokenizer: its vocabulary has no {token!r} ({setting}), which ends every text"
      )
    return ids

  def open(self, model: bytes) -> "OpenedTokenizer":
    files = unpack(model)
    backend = self.backend(files)
    ids = self.special_ids(files, backend)
    lacking = 4 - len({i for i in ids.values() if i is not None})
    size = self.vocabulary - lacking
    if backend.size > size:
      raise ValueError(
        f"tokenizer: {backend.size:,} ids in its files, but the model has {size:,}; "
        "they are the files of another model"
      )
    return OpenedTokenizer(self, model, backend, id_order(size, **ids))

  def inherit(self, parent: TokenizerRecipe) -> TokenizerRecipe:
    if type(parent) is not type(self):
      raise ValueError(
        f"--config.tokenizer: {type(self).__name__}, but that of --config.init is "
        f"{type(parent).__name__}; leave it out"
      )
    return parent


class OpenedTokenizer(Tokenizer):
  """An imported tokenizer in this project's order of ids.

  Attributes:
    recipe: how it was opened.
    order: the imported model's order of ids.
  """

  def __init__(
    self, recipe: ImportedTokenizer, model: bytes, backend: Backend, order: IdOrder
  ):
    self.model, self.sha256 = model, hashlib.sha256(model).hexdigest()
    self.recipe, self.order, self._backend = recipe, order, backend
    self._theirs = np.asarray(order.theirs)
    recipe.check_languages(self.languages)

  @property
  def size(self) -> int:
    return self.order.size

  @property
  def fingerprint(self) -> str:
    return hashlib.sha256(f"{self.sha256} {self.recipe}".encode()).hexdigest()

  def with_recipe(self, recipe: TokenizerRecipe) -> "OpenedTokenizer":
    # No recipe's choices change the backend, which takes seconds to make.
    assert isinstance(recipe, type(self.recipe))
    recipe.check_languages(self.languages)
    other = copy.copy(self)
    other.recipe = recipe
    return other

  @functools.cached_property
  def languages(self) -> tuple[str, ...]:
    return self.recipe.languages(self._backend)

  @property
  def prefix(self) -> tuple[int, ...]:
    return self._ids_of(self.recipe.target_prefix())

  def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
    return self._with_ends(self._backend.encode(readable(texts)), self.prefix)

  def encode_sources(self, texts: Sequence[str]) -> list[np.ndarray]:
    prefix = self._ids_of(self.recipe.source_prefix())
    return self._with_ends(self._backend.encode_sources(readable(texts)), prefix)

  def _ids_of(self, pieces: Sequence[str]) -> tuple[int, ...]:
    return tuple(self.id(piece) for piece in pieces)

  def _with_ends(self, sequences, prefix: tuple[int, ...]) -> list[np.ndarray]:
    encoded = []
    for theirs in sequences:
      ids = self.order.ours[np.asarray(theirs, np.int64)]
      start = prefix if theirs else ()
      encoded.append(np.concatenate([start, ids, (EOS,)]).astype(np.int32))
    return encoded

  def decode(self, sequences: Iterable[Any]) -> list[str]:
    kept = []
    for sequence in sequences:
      ids = np.asarray(sequence, np.int64)
      ends = np.flatnonzero(ids == EOS)
      theirs = self._theirs[ids[: ends[0]] if len(ends) else ids]
      kept.append(theirs[(theirs >= 0) & (theirs < self._backend.size)].tolist())
    return self._backend.decode(kept)

  def pieces(self, ids: Sequence[int]) -> list[str]:
    return [self._piece(int(i)) for i in ids]

  def _piece(self, our_id: int) -> str:
    theirs = int(self._theirs[our_id])
    if theirs == ABSENT:
      return {PAD: "<pad>", EOS: "</s>", BOS: "<s>", UNK: "<unk>"}[our_id]
    # A model has more rows than pieces where its size was rounded up.
    return self._backend.piece(theirs) or f"<unused {theirs}>"

  def id(self, piece: str) -> int:
    theirs = self._backend.id(piece)
    if theirs is None:
      (ids,) = self._backend.encode([piece])
      near = " ".join(str(self._backend.piece(i)) for i in ids)
      raise ValueError(
        f"{piece!r} is no piece of the vocabulary; as text it is written {near}"
      )
    return int(self.order.ours[theirs])


@dataclasses.dataclass(frozen=True)
class MultilingualTokenizer(ImportedTokenizer):
  """A tokenizer of several languages, whose tokens stand before the text.

  Attributes:
    source_language: the model's code of the language of sources.
    target_language: that of targets; empty where it is given at each use.
  """

  source_language: str = ""
  target_language: str = ""

  source_setting: ClassVar[str] = "src_lang"
  target_setting: ClassVar[str] = "tgt_lang"
  """Settings of the files that name languages."""

  chooses_source: ClassVar[bool] = True
  """Whether the language of sources can be chosen as well as that of targets."""

  def language_piece(self, language: str) -> str:
    """The piece of a language."""
    return language

  def source_prefix(self) -> tuple[str, ...]:
    return (self.language_piece(self.source_language),) if self.source_language else ()

  def target_prefix(self) -> tuple[str, ...]:
    if not self.target_language:
      raise ValueError(
        "--target-language: expected a language of this model, which has several, got "
        "none (transformer info shows them all)"
      )
    return (self.language_piece(self.target_language),)

  def of_directory(self, config: dict[str, Any], files: Files) -> "ImportedTokenizer":
    stated, known = settings(files), self.languages(self.backend(files))
    source, target = stated.get(self.source_setting), stated.get(self.target_setting)
    own = dataclasses.replace(
      self,
      source_language=source if source in known else self.source_language,
      target_language=target if target in known else self.target_language,
    )
    return super(MultilingualTokenizer, own).of_directory(config, files)

  def check_languages(self, languages: Sequence[str]) -> None:
    for name in ("source_language", "target_language"):
      language = getattr(self, name)
      if language and language not in languages:
        find_language(language, languages, f"tokenizer.{name}")
        raise ValueError(
          f"tokenizer.{name}: {language!r} is not a code of the model's own"
        )

  def inherit(self, parent: TokenizerRecipe) -> TokenizerRecipe:
    found = super().inherit(parent)
    assert isinstance(found, MultilingualTokenizer)
    return dataclasses.replace(
      found,
      source_language=self.source_language or found.source_language,
      target_language=self.target_language or found.target_language,
    )

  def with_languages(
    self, tokenizer: Tokenizer, source: str | None, target: str | None
  ) -> TokenizerRecipe:
    known = tokenizer.languages
    if not known:
      return super().with_languages(tokenizer, source, target)
    source_language, target_language = self.source_language, self.target_language
    if source is not None:
      source_language = find_language(source, known, "--source-language")
    if target is not None:
      target_language = find_language(target, known, "--target-language")
    return dataclasses.replace(
      self, source_language=source_language, target_language=target_language
    )
