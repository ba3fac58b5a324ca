"""The smallest configs that train, evaluate and save: shared by tests that need a run
or something of it, and not what it has learnt."""

import dataclasses
from pathlib import Path

import numpy as np

from tests.models.test_family import small
from transformer.data.batching import Packed
from transformer.data.sources.dates import Dates
from transformer.data.sources.plain_text import PlainText
from transformer.data.tokenizers.sentence_piece import SentencePiece
from transformer.experiment import Config
from transformer.inference.generate import Generation
from transformer.models.decoder_only import DecoderOnly
from transformer.models.transformer import Transformer
from transformer.tasks.language_modelling import LanguageModelling

TINY = Config(
  data=Dates(examples=200, held_out=12),
  model=Transformer(layers=2, d_model=16, d_ff=24, heads=2),
  tokenizer=SentencePiece(vocabulary=560),
  batching=Packed(tokens=192, length=64),
  steps=6,
  log_every=1,
  eval_every=6,
  save_every=2,
)
"""Translation."""

WORDS = ("the", "cat", "sat", "on", "a", "mat", "and", "saw", "", "", "two", "dogs",
         "run:", "after", "a", "ball\n")  # fmt: skip


def write_text(path: Path, size: int, seed: int) -> str:
  """Writes a text of `size` random words and returns its path."""
  rng = np.random.default_rng(seed)
  path.write_text(" ".join(WORDS[i] for i in rng.integers(len(WORDS), size=size)))
  return str(path)


def language_config(folder: Path) -> Config:
  """Language modelling on two texts, which it writes into `folder`."""
  texts = [(write_text(folder / "a", 900, 0),), (write_text(folder / "b", 90, 1),)]
  return Config(
    data=PlainText(*texts),
    model=dataclasses.replace(small(DecoderOnly), dropout=0.1),
    task=LanguageModelling(context=24, generation=Generation(max_length=6)),
    tokenizer=SentencePiece(vocabulary=300, whitespace=True),
    batching=Packed(tokens=192, length=48),
    steps=4,
    log_every=1,
    eval_every=4,
    save_every=2,
  )
