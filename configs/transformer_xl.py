"""Transformer-XL on the help texts of Python (Dai et al. 2019).

Claim: what layers remember of earlier segments makes the next tokens more probable, the
more of it the better, up to what training had.
Command: python train.py --config configs/transformer_xl.py
  python -m transformer.studies.perplexity_by_memory runs/transformer_xl
Cost: 1.5 minutes on 2 cores beside a test suite.
Result: perplexity of test 29.0 without memory, 26.1 with 16 tokens, 25.6 with 64, the
length in training, and 26.1 with 256: longer than in training it gives nothing here,
other than in the paper (2026-11-21). Frequencies alone have 234 on val.

Own text: --config.data="PlainText(('a.txt', 'b.txt'))"; a prepared TFDS set:
--config.data="TfdsText('lm1b')".
"""

from transformer.data.batching import Packed
from transformer.data.sources.topics import Topics
from transformer.data.tokenizer import SentencePiece
from transformer.experiment import Config
from transformer.inference.generate import Generation
from transformer.layers.residual import PreNorm
from transformer.models.transformer_xl import TransformerXL
from transformer.tasks.segment_language_modelling import SegmentLanguageModelling
from transformer.training.schedules import Cosine


def get_config() -> Config:
  """The experiment; a row holds one segment and the token before it."""
  return Config(
    data=Topics(),
    model=TransformerXL(
      layers=2, d_model=128, d_ff=512, heads=4, dropout=0.1, residual=PreNorm()
    ),
    task=SegmentLanguageModelling(
      context=63, before=64, memory=64, generation=Generation(max_length=24)
    ),
    tokenizer=SentencePiece(vocabulary=1000, whitespace=True),
    batching=Packed(tokens=1024, length=64),
    schedule=Cosine(rate=2e-3, warmup=60, steps=600),
    steps=600,
    eval_every=300,
    save_every=300,
  )
