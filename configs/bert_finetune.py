"""Which language is this? BERT fine-tuned on few labelled texts (Devlin et al. 2019).

Claim: on the same 1,000 labelled names, the run of bert.py is a far better
initialisation than random parameters.
Command: python train.py --config configs/bert.py
  python train.py --config configs/bert_finetune.py
  from scratch, with the same vocabulary: initialise from a run of one step at rate 0:
  python train.py --config configs/bert.py --workdir runs/untrained \\
    --config.steps=1 --config.schedule='Schedule(0.0)'
  python train.py --config configs/bert_finetune.py --workdir runs/scratch \\
    --config.init=runs/untrained
Cost: half a minute on 2 cores.
Result: accuracy on the 1,000 texts of val, mean and standard deviation of three seeds:
0.631 ± 0.007, from scratch 0.486 ± 0.018 (2026-11-21); the most frequent of 29
languages has 0.035.

Other data: --config.data="TfdsLabelled('glue/sst2')"
  --config.task="TextClassification(('negative', 'positive'))" --config.model.classes=2
"""

import dataclasses
from pathlib import Path

from transformer import experiment
from transformer.data.sources.display_names import LOCALES, DisplayNames
from transformer.experiment import Config
from transformer.models.bert import BertClassifier
from transformer.tasks.text_classification import TextClassification


def get_config() -> Config:
  """The experiment; the encoder has the sizes of bert.py."""
  base = experiment.read_config(Path(__file__).with_name("bert.py"))
  encoder = {
    name: getattr(base.model, name)
    for name in ("layers", "d_model", "d_ff", "heads", "position", "residual")
  }
  return dataclasses.replace(
    base,
    data=DisplayNames(examples=1000, several=1),
    model=BertClassifier(**encoder, dropout=0.1, classes=len(LOCALES)),
    task=TextClassification(labels=LOCALES, context=64),
    schedule=dataclasses.replace(base.schedule, warmup=20),
    steps=200,
    eval_every=200,
    save_every=200,
    init="runs/bert",
  )
