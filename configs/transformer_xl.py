"""Transformer-XL on the source files of Python's standard library (Dai et al. 2019).

Claim: the hidden states of earlier segments make the next tokens more probable, and a
memory twice as long as in training, in evaluation, more so than one of that length.
Command: python train.py --config configs/transformer_xl.py
  python -m transformer.studies.perplexity_by_memory runs/transformer_xl
Cost: 3 minutes on one core (AMD EPYC), 6.5 beside other work.
Result: perplexity of test 11.47 ± 0.08 without memory, 9.00 ± 0.16 with 64 tokens, the
length in training, 8.97 ± 0.17 with 128 and 9.06 ± 0.21 with 256 (three seeds,
2026-11-26; docs/studies.md). In every seed 128 are better than 64, by 0.034 ± 0.014,
and than 256. Token frequencies alone have 107.6 on val.

Own text: --config.data="PlainText(('a.txt', 'b.txt'))"; a prepared TFDS set:
--config.data="TfdsText('lm1b')".
"""

import dataclasses
from pathlib import Path

from transformer import experiment
from transformer.data.sources.standard_library import StandardLibrary
from transformer.experiment import Config
from transformer.inference.generate import Generation
from transformer.models.transformer_xl import TransformerXL
from transformer.tasks.segment_language_modelling import SegmentLanguageModelling


def get_config() -> Config:
  """A row holds one segment and the token before it."""
  base = experiment.read_config(Path(__file__).with_name("language_model.py"))
  return dataclasses.replace(
    base,
    data=StandardLibrary(),
    model=TransformerXL(
      layers=2,
      d_model=128,
      d_ff=512,
      heads=4,
      dropout=0.0,
      residual=base.model.residual,
    ),
    task=SegmentLanguageModelling(
      context=63,
      memory_length=64,
      eval_memory_length=128,
      generation=Generation(max_length=24),
    ),
    batching=dataclasses.replace(base.batching, tokens=1024, length=64),
    schedule=dataclasses.replace(base.schedule, warmup=60),
    steps=2400,
    eval_every=1200,
    save_every=1200,
  )
