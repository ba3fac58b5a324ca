"""WMT 2014 English to German, the paper's big model (§5, Table 3).

Claim: 28.4 BLEU on newstest2014 is the paper's figure (see wmt14_base.py).
Command: python train.py --config configs/wmt14_big.py --workdir runs/wmt14_big
Cost: 300,000 updates; 3.5 days on the paper's eight P100s.
Result: not run here.
"""

import dataclasses
from pathlib import Path

from transformer import experiment
from transformer.experiment import Config
from transformer.models.transformer import Transformer
from transformer.training.keep import Keep


def get_config() -> Config:
  """The base model's experiment with other sizes, dropout and steps."""
  base = experiment.read_config(Path(__file__).with_name("wmt14_base.py"))
  return dataclasses.replace(
    base,
    model=Transformer(layers=6, d_model=1024, d_ff=4096, heads=16, dropout=0.3),
    steps=300_000,
    # Ten minutes of the paper's 1.0 s updates; the last 20 are averaged (§6.1).
    save_every=600,
    keep=Keep(latest=20),
  )
