"""The help texts of Python by a decoder-only Transformer.

Claim: a small decoder-only model predicts an unseen help topic far better than the
frequencies of its tokens do, and continues a text.
Command: python train.py --config configs/language_model.py
  transformer generate runs/language_model "The for statement" --stream
Cost: 1.2 minutes on 2 cores.
Result: perplexity 43.1 on the topics of val, 2.28 bits per character (2026-11-21);
token frequencies alone have 234.

Own text: --config.data="PlainText(('a.txt', 'b.txt'))"; a prepared TFDS set:
--config.data="TfdsText('lm1b')".
"""

from transformer.data.batching import Packed
from transformer.data.sources.topics import Topics
from transformer.data.tokenizers.sentence_piece import SentencePiece
from transformer.experiment import Config
from transformer.layers.residual import PreNorm
from transformer.models.decoder_only import DecoderOnly
from transformer.tasks.language_modelling import LanguageModelling
from transformer.training.schedules import Cosine


def get_config() -> Config:
  """The experiment."""
  return Config(
    data=Topics(),
    model=DecoderOnly(
      layers=4, d_model=128, d_ff=512, heads=4, dropout=0.2, residual=PreNorm()
    ),
    task=LanguageModelling(context=128),
    tokenizer=SentencePiece(vocabulary=1000, whitespace=True),
    batching=Packed(tokens=2048, length=128),
    schedule=Cosine(rate=2e-3, warmup=100),
    steps=400,
    eval_every=200,
    save_every=200,
  )
