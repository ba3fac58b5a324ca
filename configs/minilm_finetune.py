"""Which language is this? A sentence encoder from elsewhere, fine-tuned on few labelled
texts (Devlin et al. 2019; all-MiniLM-L6-v2 is of Wang et al. 2020's kind).

Claim: TODO
"""

import dataclasses
from pathlib import Path

from transformer import experiment
from transformer.data.sources.display_names import LOCALES
from transformer.experiment import Config
from transformer.layers.feedforward import GELU
from transformer.layers.norms import LayerNorm
from transformer.layers.positions import Learned
from transformer.models.bert import BertClassifier
from transformer.training.schedules import Linear

NORM = LayerNorm(epsilon=1e-12)


def get_config() -> Config:
  """The experiment; data, task and batches are those of bert_finetune.py."""
  base = experiment.read_config(Path(__file__).with_name("bert_finetune.py"))
  return dataclasses.replace(
    base,
    model=BertClassifier(
      layers=6,
      d_model=384,
      d_ff=1536,
      position=Learned(512),
      norm=NORM,
      embedding_norm=NORM,
      feed_forward=GELU(),
      biases=True,
      token_types=2,
      dropout=0.1,
      classes=len(LOCALES),
    ),
    schedule=Linear(rate=5e-4, warmup=20),
    steps=100,
    eval_every=100,
    save_every=100,
    init="runs/minilm",
  )
