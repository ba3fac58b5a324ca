"""Which language is this? An imported sentence encoder, fine-tuned on few labelled
names (all-MiniLM-L6-v2 of sentence-transformers; Devlin et al. 2019 on fine-tuning).

Claim: an imported encoder is fine-tuned as one that was trained here. On this task it
does not reach bert_finetune.py, whose encoder has read the names of all 29 languages:
its vocabulary drops accents, and it was trained on English.
Command: transformer convert minilm runs/minilm
  python train.py --config configs/minilm_finetune.py
Cost: 75 s on one core; 22.7 million parameters.
Result: accuracy on the 1,000 texts of val, mean and standard deviation of three seeds:
0.476 ± 0.020, against 0.631 ± 0.007 (2026-11-26); docs/embeddings.md says why.

Own texts: --config.data="TfdsLabelled('glue/sst2')"
  --config.task="TextClassification(('negative', 'positive'))" --config.model.classes=2
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
