"""Multi30k, English to German."""

from transformer.data.batching import Grouped
from transformer.data.sources.multi30k import Multi30k
from transformer.data.tokenizer import SentencePiece
from transformer.experiment import Config
from transformer.models.seq2seq import Transformer
from transformer.tasks.translation import Translation
from transformer.training.schedules import Noam


def get_config() -> Config:
  """The experiment."""
  return Config(
    data=Multi30k("en-de"),
    model=Transformer(layers=4, d_model=128, d_ff=256, heads=4, dropout=0.2),
    task=Translation(smoothing=0.1),
    tokenizer=SentencePiece(vocabulary=4000),
    batching=Grouped(tokens=2048, lengths=(12, 16, 20, 24, 32, 64)),
    schedule=Noam(rate=2.0, warmup=1000),
    steps=8000,
    eval_every=1000,
    save_every=200,
    keep=10,
  )
