"""Multi30k, English to German, on a laptop within an hour.

Claim: a small Transformer translates image captions after some 7,000 updates.
Command: python train.py --config configs/multi30k.py --workdir runs/m30k
  transformer average runs/m30k --last 10
  transformer evaluate runs/m30k-averaged --beam 5
Cost: 35 minutes on 2 CPU cores.
Result: 37.33 BLEU (sacreBLEU, 13a, cased) on test_2016_flickr (2026-11-21); see
docs/log.md for another configuration and for what did not work.
"""

from transformer.data.batching import Grouped
from transformer.data.sources.multi30k import Multi30k
from transformer.data.tokenizers.sentence_piece import SentencePiece
from transformer.experiment import Config
from transformer.layers.residual import PreNorm
from transformer.models.transformer import Transformer
from transformer.tasks.translation import Translation
from transformer.training.keep import Keep
from transformer.training.schedules import Cosine


def get_config() -> Config:
  """The experiment."""
  return Config(
    data=Multi30k("en-de"),
    model=Transformer(
      layers=3, d_model=256, d_ff=512, heads=4, dropout=0.1, residual=PreNorm()
    ),
    task=Translation(smoothing=0.1),
    tokenizer=SentencePiece(vocabulary=4000),
    batching=Grouped(tokens=1024, lengths=(12, 16, 20, 24, 32, 64)),
    schedule=Cosine(rate=1e-3, warmup=300),
    steps=7200,
    eval_every=900,
    save_every=180,
    keep=Keep(latest=10),
  )
