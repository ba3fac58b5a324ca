"""Four families on Multi30k, English to German: the same data, metric and budget.

Claim: attention is worth more than any other part of an encoder-decoder, and what
carries it, recurrence, convolution or more attention, decides less.
Command: transformer ablate configs/studies/multi30k.py --workdir DIR
Cost: 4 rows, one seed: 50 minutes on one core.
Result: BLEU 24.0, 8.0 without attention, 25.9 and 24.0 (2026-11-21); docs/studies.md.

All have as many parameters as the Transformer, the same batches in the same order, and
as many updates. They are few: configs/multi30k.py has six times as many.
"""

import dataclasses
from pathlib import Path

from transformer import experiment
from transformer.models.conv_seq2seq import ConvSeq2Seq
from transformer.models.rnn import RNNSeq2Seq
from transformer.models.rnn_search import RNNSearch
from transformer.studies.figures import DotPlot
from transformer.studies.rows import HeldOut, MatchParameters, Row
from transformer.studies.study import Study
from transformer.training.optimizers import Adam
from transformer.training.schedules import Cosine

ROWS = (
  Row("Transformer"),
  Row(
    "RNN (Sutskever)",
    {"model": RNNSeq2Seq(layers=2, dropout=0.1)},
    match=MatchParameters("model.d_model"),
  ),
  Row(
    "RNN with attention (Bahdanau)",
    {"model": RNNSearch(d_model=256, d_alignment=256, d_output=256, dropout=0.1)},
    match=MatchParameters("model.d_state"),
  ),
  Row(
    "convolutional (Gehring)",
    {"model": ConvSeq2Seq(layers=4, d_model=256, dropout=0.1)},
    match=MatchParameters("model.d_hidden"),
  ),
)


def get_study() -> Study:
  """The configuration of configs/multi30k.py with other models in its place."""
  base = experiment.read_config(Path(__file__).parents[1] / "multi30k.py")
  return Study(
    title="Four families on Multi30k, English to German",
    base=dataclasses.replace(
      base,
      optimizer=Adam(clip=1.0),
      schedule=Cosine(rate=1e-3, warmup=120),
      steps=1200,
      eval_every=10_000,
    ),
    rows=ROWS,
    columns=("test/bleu", "test/chrf", "test/perplexity"),
    seeds=(0,),
    held_out=(HeldOut("test", "test"),),
    figure=DotPlot(),
  )
