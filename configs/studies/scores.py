"""Scores of attention by d_k: dot product, scaled dot product, additive (§3.2.1).

Claim: "for small values of d_k the two mechanisms perform similarly, additive attention
outperforms dot product attention without scaling for larger values of d_k".
Command: transformer ablate configs/studies/scores.py --workdir DIR
Cost: 11 rows, three seeds: about 30 minutes of one core, half of them for additive
scores of 128 channels.
Result: the dot product falls from 0.970 at 4 channels to 0.023 at 128, scaled and
additive scores stay at 0.96 or above (2026-11-26); docs/studies.md.
"""

from transformer.data.batching import Packed
from transformer.data.sources.dates import Dates
from transformer.data.tokenizers.sentence_piece import SentencePiece
from transformer.experiment import Config
from transformer.layers.scores import Additive, Dot, Score
from transformer.models.transformer import Transformer
from transformer.studies.figures import LinesOverRows
from transformer.studies.rows import Row
from transformer.studies.study import Study
from transformer.tasks.translation import Translation
from transformer.training.schedules import Cosine

SCORES = (
  ("scaled", Score(), (32, 4, 128, 256)),
  ("dot", Dot(), (32, 4, 128, 256)),
  ("additive", Additive(), (32, 4, 128)),
)
"""Their widths; additive scores hold [b, t, s, h, k] numbers, which is slow at 256."""


def get_study() -> Study:
  """Three scores at three or four widths of a head; values keep theirs."""
  return Study(
    title="Scores of attention by d_k",
    base=Config(
      data=Dates(examples=20_000, held_out=300),
      model=Transformer(layers=2, d_model=64, d_ff=256, heads=2, d_v=32, dropout=0.0),
      task=Translation(smoothing=0.0),
      tokenizer=SentencePiece(vocabulary=700, split_digits=True),
      batching=Packed(tokens=512, length=32),
      schedule=Cosine(rate=3e-3, warmup=50),
      steps=1600,
      eval_every=10_000,
      save_every=400,
    ),
    rows=tuple(
      Row(
        f"{name} {d_k}",
        {"model.score": recipe, "model.d_k": d_k},
        line=name,
        x=d_k,
      )
      for name, recipe, widths in SCORES
      for d_k in widths
    ),
    columns=("val/loss", "val/exact_match"),
    figure=LinesOverRows("d_k (channels)", logarithmic=True),
  )
