"""BERT on names of languages, countries and more in 29 languages (Devlin et al. 2019).

Claim: an encoder that sees both sides of a masked token predicts it far better than
token frequencies do, and is a good initialisation for bert_finetune.py.
Command: python train.py --config configs/bert.py
  transformer fill runs/bert "Deutsch, Franz[MASK], Ital[MASK]"
Cost: 7 minutes on 2 cores beside a test suite.
Result: accuracy 0.183 on the masked tokens of val, at a loss of 4.60 nats (2026-11-21);
token frequencies alone have 0.086, at 6.04.

Own text: --config.data="PlainText(('a.txt', 'b.txt'))".
"""

from transformer.data.batching import Packed
from transformer.data.sources.display_names import DisplayNames
from transformer.data.tokenizers.sentence_piece import SentencePiece
from transformer.experiment import Config
from transformer.layers.positions import Learned
from transformer.layers.residual import PreNorm
from transformer.models.bert import Bert
from transformer.tasks.masked_language_modelling import MaskedLanguageModelling
from transformer.training.schedules import Cosine


def get_config() -> Config:
  """The experiment."""
  return Config(
    data=DisplayNames(),
    model=Bert(
      layers=2,
      d_model=128,
      d_ff=512,
      heads=4,
      position=Learned(64),
      dropout=0.0,
      residual=PreNorm(),
    ),
    task=MaskedLanguageModelling(context=64),
    tokenizer=SentencePiece(vocabulary=1500),
    batching=Packed(tokens=1024, length=64),
    schedule=Cosine(rate=1e-3, warmup=200),
    steps=4000,
    eval_every=1000,
    save_every=1000,
  )
