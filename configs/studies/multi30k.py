"""Four families on Multi30k, English to German, tuned alike.

Claim: a recurrent network without attention is far behind all three families with it,
which differ less among themselves.
Command: transformer ablate configs/studies/multi30k.py --workdir DIR
Cost: 4 rows, three trials and one seed each: 2 hours of processor time.
Result: BLEU 29.1, 10.0 without attention, 33.2 and 31.7 (2026-11-26); docs/studies.md.

All take as many FLOPs a target token as the Transformer, and see the same batches in
the same order. Parameters differ, since the others embed source and target apart. Each
family is tried at three rates for a fifth of the updates, and trained at the one with
the lowest loss on val.
"""

import dataclasses
from pathlib import Path

from transformer import experiment
from transformer.models.conv_seq2seq import ConvSeq2Seq
from transformer.models.rnn import RNNSeq2Seq
from transformer.models.rnn_search import RNNSearch
from transformer.studies.figures import DotPlot
from transformer.studies.rows import HeldOut, MatchFlops, Row
from transformer.studies.study import Study
from transformer.studies.sweep import Sweep
from transformer.training.optimizers import Adam
from transformer.training.schedules import Cosine

ROWS = (
  Row("Transformer"),
  Row(
    "RNN (Sutskever)",
    {"model": RNNSeq2Seq(layers=2, dropout=0.3)},
    match=MatchFlops("model.d_model"),
  ),
  Row(
    "RNN with attention (Bahdanau)",
    {"model": RNNSearch(d_model=128, d_alignment=128, d_output=128, dropout=0.3)},
    match=MatchFlops("model.d_state"),
  ),
  Row(
    "convolutional (Gehring)",
    {"model": ConvSeq2Seq(layers=4, d_model=128, dropout=0.3)},
    match=MatchFlops("model.d_hidden"),
  ),
)


def get_study() -> Study:
  """The experiment of configs/multi30k.py, shorter, with other models in its place."""
  base = experiment.read_config(Path(__file__).parents[1] / "multi30k.py")
  return Study(
    title="Four families on Multi30k, English to German",
    sweep=Sweep({"schedule.rate": (1e-3, 2e-3, 4e-3)}, share=0.2),
    base=dataclasses.replace(
      base,
      optimizer=Adam(clip=1.0),
      schedule=Cosine(rate=4e-3, warmup=100),
      steps=1000,
      eval_every=10_000,
    ),
    rows=ROWS,
    columns=("test/bleu", "test/chrf", "test/perplexity"),
    seeds=(0,),
    held_out=(HeldOut("test", "test"),),
    figure=DotPlot(),
  )
