"""The vocabulary of a Hugging Face directory: that of its tokenizer, or its classes."""

from typing import Any, NamedTuple

from transformer import config as configs
from transformer.data.id_order import ABSENT, IdOrder
from transformer.data.tokenizer import TokenizerRecipe
from transformer.data.tokenizers.files import pack, read_directory, settings
from transformer.data.tokenizers.imported import ImportedTokenizer, OpenedTokenizer
from transformer.data.tokenizers.sentence_piece import SentencePiece
from transformer.data.vocabulary import Vocabulary, WordVocabulary
from transformer.interop.class_names import class_names
from transformer.interop.family import Family
from transformer.interop.hf_directory import HFDirectory


class ImportedVocabulary(NamedTuple):
  """The vocabulary of a run that is made of a directory.

  Attributes:
    recipe: how the run opens its tokenizer; the default where it has none.
    opened: the vocabulary; its `model` is the file of the run.
    order: the order of its ids.
  """

  recipe: TokenizerRecipe
  opened: Vocabulary
  order: IdOrder


def open_vocabulary(directory: HFDirectory, family: Family) -> ImportedVocabulary:
  """The vocabulary of a directory.

  Raises:
    ValueError: there is none, it is damaged, not covered, or of another model.
  """
  if family.tokenizers:
    return open_tokenizer(directory, family)
  try:
    names = class_names(directory.config)
  except ValueError as error:
    raise ValueError(f"{directory.path}: {error}") from None
  classes = WordVocabulary(WordVocabulary.write(names))
  return ImportedVocabulary(
    SentencePiece(), classes, IdOrder(tuple(range(classes.size)))
  )


def open_tokenizer(directory: HFDirectory, family: Family) -> ImportedVocabulary:
  """The tokenizer in a directory."""
  files = read_directory(directory.path)
  try:
    recipe = recipe_of(settings(files).get("tokenizer_class"), family)
    recipe = recipe.of_directory(dict(directory.config), files)
    opened = recipe.open(pack(files))
    check_special_ids(directory, opened)
  except ValueError as error:
    raise ValueError(f"{directory.path}: {error}") from None
  return ImportedVocabulary(recipe, opened, opened.order)


def recipe_of(name: str | None, family: Family) -> ImportedTokenizer:
  """The recipe that `tokenizer_class` of a directory names.

  Raises:
    ValueError: there is none.
  """
  known: dict[str, Any] = {}
  recipe: Any
  for kind, recipe in configs.members(ImportedTokenizer).items():
    known |= dict.fromkeys((kind, *recipe.names), recipe)
  wanted = (name or "").removesuffix("Fast")
  # Newer files may name a class that says nothing of the kind.
  names = [wanted] if wanted in family.tokenizers else list(family.tokenizers)
  for candidate in names:
    if candidate in known:
      return known[candidate]()
  raise ValueError(
    f"tokenizer_config.json: tokenizer_class: {name or names} is not covered; covered "
    f"are {', '.join(sorted(known))}"
  )


def check_special_ids(directory: HFDirectory, opened: OpenedTokenizer) -> None:
  """Raises ValueError where config.json and the tokenizer differ in their special
  tokens: then they are of two models."""
  for our_id, name in enumerate(("pad_token_id", "eos_token_id")):
    stated, found = directory.config.get(name), opened.order.theirs[our_id]
    if type(stated) is int and stated != found:
      if found == ABSENT:
        raise ValueError(
          f"config.json has {name} {stated}, but no file of the tokenizer has such a "
          "token; they are of two models, or the files are damaged"
        )
      raise ValueError(
        f"config.json has {name} {stated}, but the tokenizer {found}; they are of two "
        "models"
      )
