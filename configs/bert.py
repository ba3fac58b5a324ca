"""BERT on what things are called in 29 languages (Devlin et al. 2019).

Claim: an encoder that sees both sides of a gap tells what is missing far more often
than the frequencies of tokens do; what it has learnt serves bert_finetune.py.
Command: python train.py --config configs/bert.py
  transformer fill runs/bert "Deutsch, Franz[MASK], Ital[MASK]"
Cost: not yet measured.
Result: not yet measured.

Own text: --config.data="PlainText(('a.txt', 'b.txt'))".
"""

from transformer.data.batching import Packed
from transformer.data.sources.names import DisplayNames
from transformer.data.tokenizer import SentencePiece
from transformer.experiment import Config
from transformer.layers.positions import Learned
from transformer.layers.residual import PreNorm
from transformer.models.bert import Bert
from transformer.tasks.masked import MaskedLanguageModelling
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
    schedule=Cosine(rate=2e-3, warmup=60, steps=1200),
    steps=1200,
    eval_every=600,
    save_every=600,
  )
