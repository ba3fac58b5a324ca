"""Dates as people write them in 33 locales, to ISO 8601.

Claim: the paper's model at a small size reads any of them after a few minutes.
Command: python train.py
Cost: 3.4 minutes on 2 CPU cores, everything included (2026-11-21).
Result: exact match 0.9995 on 2,000 held-out dates (2026-11-26).
"""

from transformer.data.batching import Grouped
from transformer.data.sources.dates import Dates
from transformer.data.tokenizers.sentence_piece import SentencePiece
from transformer.experiment import Config
from transformer.models.transformer import Transformer
from transformer.tasks.translation import Translation
from transformer.training.schedules import Cosine


def get_config() -> Config:
  """The default experiment."""
  return Config(
    data=Dates(),
    model=Transformer(layers=2, d_model=128, d_ff=512, heads=4, dropout=0.0),
    task=Translation(smoothing=0.0),
    tokenizer=SentencePiece(vocabulary=1000, split_digits=True),
    batching=Grouped(tokens=2048, lengths=(12, 16, 24, 48)),
    schedule=Cosine(rate=3e-3, warmup=200),
    steps=1300,
    eval_every=650,
    save_every=650,
  )
