"""Transformer-XL on the help texts of Python (Dai et al. 2019).

Claim: the hidden states of earlier segments make the next tokens more probable, and the
more of them the better, up to the memory length of training.
Command: python train.py --config configs/transformer_xl.py
  python -m transformer.studies.perplexity_by_memory runs/transformer_xl
Cost: 1.5 minutes on 2 cores beside a test suite.
Result: perplexity of test 29.0 without memory, 26.1 with 16 tokens, 25.6 with 64, the
length in training, and 26.1 with 256: unlike in the paper, a longer memory than in
training does not help here (2026-11-21, when batches still kept two slots for the empty
context of a text's first segment; not measured again). Token frequencies alone have 234
on val.

Own text: --config.data="PlainText(('a.txt', 'b.txt'))"; a prepared TFDS set:
--config.data="TfdsText('lm1b')".
"""

import dataclasses
from pathlib import Path

from transformer import experiment
from transformer.experiment import Config
from transformer.inference.generate import Generation
from transformer.models.transformer_xl import TransformerXL
from transformer.tasks.segment_language_modelling import SegmentLanguageModelling


def get_config() -> Config:
  """The text of language_model.py; a row holds one segment and the token before it."""
  base = experiment.read_config(Path(__file__).with_name("language_model.py"))
  return dataclasses.replace(
    base,
    model=TransformerXL(
      layers=2,
      d_model=128,
      d_ff=512,
      heads=4,
      dropout=0.1,
      residual=base.model.residual,
    ),
    task=SegmentLanguageModelling(
      context=63,
      memory_length=64,
      eval_memory_length=64,
      generation=Generation(max_length=24),
    ),
    batching=dataclasses.replace(base.batching, tokens=1024, length=64),
    schedule=dataclasses.replace(base.schedule, warmup=60),
    steps=600,
    eval_every=300,
    save_every=300,
  )
