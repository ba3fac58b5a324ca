"""NLLB-200, one pair of its 200 languages fine-tuned on a text pair (NLLB Team 2022).

Claim: as opus_mt.py, for a model of many languages: the languages of a run are settings
of its tokenizer.
Command: hf download facebook/nllb-200-distilled-600M --local-dir nllb-200
  transformer convert nllb-200 runs/nllb-200
  python train.py --config configs/nllb.py --config.data="ParallelText('en', 'de')"
Cost: 615 million parameters, of which 262 million are the matrix of the vocabulary; it
and the encoder are not trained here. Memory: 2.5 GB of parameters in float32, and twice
that for the optimizer's averages of those that are trained.
Result: none yet on a real model of NLLB; docs/huggingface.md says what was tried.

Other languages: --config.tokenizer="NllbTokenizer(source_language='fra_Latn',
  target_language='wol_Latn')"; all parameters: --config.freeze="()".
"""

import dataclasses
from pathlib import Path

from transformer import experiment
from transformer.data.sources.parallel_text import ParallelText
from transformer.data.tokenizers.multilingual import NllbTokenizer
from transformer.experiment import Config


def get_config() -> Config:
  """The experiment; all but the data and what is trained as opus_mt.py."""
  base = experiment.read_config(Path(__file__).with_name("opus_mt.py"))
  return dataclasses.replace(
    base,
    data=ParallelText("train.source", "train.target"),
    batching=dataclasses.replace(base.batching, tokens=2048),
    tokenizer=NllbTokenizer(source_language="eng_Latn", target_language="deu_Latn"),
    init="runs/nllb-200",
    freeze=("encoder", "embedding"),
  )
