"""Ten position schemes: how far do they carry beyond the lengths of training?

Claim: without positions dates cannot be read; schemes of distances lose less on texts
longer than any in training than those of absolute positions (Press et al. 2022).
Command: transformer ablate configs/studies/positions.py --workdir DIR
Cost: 10 rows, three seeds: an hour of processor time on a CPU.
Result: the first holds, 0.117 of single dates against 0.999; of the second nothing is
seen but which date is lost: no scheme reads three (2026-11-26); docs/studies.md.
"""

from transformer.data.batching import Packed
from transformer.data.sources.dates import Dates, ManyDates
from transformer.data.tokenizers.sentence_piece import SentencePiece
from transformer.experiment import Config
from transformer.layers.positions import (
  Alibi,
  Axial,
  Learned,
  LearnedSinusoid,
  Position,
  Rope,
  Shaw,
  Sinusoid,
  T5Bias,
  TransformerXLPosition,
)
from transformer.layers.residual import PreNorm
from transformer.models.transformer import Transformer
from transformer.studies.figures import LinesOverHeldOut
from transformer.studies.rows import HeldOut, Row
from transformer.studies.study import Study
from transformer.tasks.translation import Translation
from transformer.training.schedules import Cosine

SCHEMES = (
  ("sinusoid", Sinusoid()),
  ("none", Position()),
  ("learned", Learned()),
  ("learned from sinusoid", LearnedSinusoid()),
  ("axial", Axial()),
  ("Shaw", Shaw()),
  ("T5", T5Bias()),
  ("Transformer-XL", TransformerXLPosition()),
  ("RoPE", Rope()),
  ("ALiBi", Alibi()),
)

LONGEST = 2
"""Dates in a text of the training split, at most."""


def get_study() -> Study:
  """Trained on one and two dates, scored on one to four."""
  return Study(
    title="Position schemes inside and beyond the lengths of training",
    base=Config(
      data=Dates(examples=40_000, held_out=300, several=LONGEST),
      model=Transformer(
        layers=2, d_model=128, d_ff=256, heads=4, dropout=0.0, residual=PreNorm()
      ),
      task=Translation(smoothing=0.0),
      tokenizer=SentencePiece(vocabulary=700, split_digits=True),
      batching=Packed(tokens=512, length=64),
      schedule=Cosine(rate=3e-3, warmup=100),
      steps=1800,
      eval_every=10_000,
      save_every=600,
    ),
    rows=tuple(Row(name, {"model.position": recipe}) for name, recipe in SCHEMES),
    columns=tuple(f"{n} dates/{s}" for s in ("exact_match", "chrf") for n in (2, 3, 4)),
    held_out=tuple(
      HeldOut(f"{n} dates", "test", ManyDates(0, 300, several=n, fewest=n), x=n)
      for n in (1, 2, 3, 4)
    ),
    figure=LinesOverHeldOut(
      label="dates in a text",
      scores=("exact_match", "chrf"),
      mark=LONGEST + 0.5,
      marked="longest in training",
    ),
  )
