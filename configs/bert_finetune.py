"""Which language is this? BERT fine-tuned on few labelled texts (Devlin et al. 2019).

Claim: on the same 1,000 labelled names, the run of bert.py is a far better beginning
than random parameters.
Command: python train.py --config configs/bert.py
  python train.py --config configs/bert_finetune.py
  from scratch, with the same vocabulary, begin with a run of one step at rate zero:
  python train.py --config configs/bert.py --workdir runs/untrained \\
    --config.steps=1 --config.schedule='Schedule(0.0)'
  python train.py --config configs/bert_finetune.py --workdir runs/scratch \\
    --config.init=runs/untrained
Cost: half a minute on 2 cores.
Result: accuracy on the 1,000 texts of val, three seeds, mean and deviation: 0.631 ±
0.007, from scratch 0.486 ± 0.018 (2026-11-21); the most frequent of 29 languages has
0.035.

Other data: --config.data="TfdsLabelled('glue/sst2')"
  --config.task="TextClassification(('negative', 'positive'))" --config.model.classes=2
"""

from transformer.data.batching import Packed
from transformer.data.sources.display_names import LOCALES, DisplayNames
from transformer.data.tokenizer import SentencePiece
from transformer.experiment import Config
from transformer.layers.positions import Learned
from transformer.layers.residual import PreNorm
from transformer.models.bert import BertClassifier
from transformer.tasks.text_classification import TextClassification
from transformer.training.schedules import Cosine


def get_config() -> Config:
  """The experiment; sizes are those of bert.py."""
  return Config(
    data=DisplayNames(examples=1000, several=1),
    model=BertClassifier(
      layers=2,
      d_model=128,
      d_ff=512,
      heads=4,
      position=Learned(64),
      dropout=0.1,
      residual=PreNorm(),
      classes=len(LOCALES),
    ),
    task=TextClassification(labels=LOCALES, context=64),
    tokenizer=SentencePiece(vocabulary=1500),
    batching=Packed(tokens=1024, length=64),
    schedule=Cosine(rate=1e-3, warmup=20, steps=200),
    steps=200,
    eval_every=200,
    save_every=200,
    init="runs/bert",
  )
