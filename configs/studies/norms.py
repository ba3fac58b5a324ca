"""Norms: layer, RMS and batch, before and after the sublayer.

Claim: after the sublayer, a norm wants warm-up, and before it none; batch norm wants
large batches.
Command: transformer ablate configs/studies/norms.py --config.over=batch --workdir DIR
Cost: 12 rows, three seeds: see docs/studies.md.
Result: docs/studies.md.

`--config.over` is what the figure goes over: `batch`, slots of a batch; `length`, dates
in a text; `warmup`, updates until the rate is at its peak.
"""

from typing import Literal

from transformer.data.batching import Packed
from transformer.data.sources.dates import Dates
from transformer.data.tokenizer import SentencePiece
from transformer.experiment import Config
from transformer.layers.norms import BatchNorm, LayerNorm, RMSNorm
from transformer.layers.residual import PreNorm, Residual
from transformer.models.transformer import Transformer
from transformer.studies.figures import LinesOverRows
from transformer.studies.rows import HeldOut, Row
from transformer.studies.study import Study
from transformer.tasks.translation import Translation
from transformer.training.schedules import Cosine

NORMS = (("layer", LayerNorm()), ("RMS", RMSNorm()), ("batch", BatchNorm()))
RESIDUALS = (("after", Residual()), ("before", PreNorm()))

OVER = {
  "batch": (
    "batching.tokens",
    (512, 128),
    LinesOverRows("slots of a batch", True),
  ),
  "length": ("data.several", (1, 2), LinesOverRows("dates in a text, at most")),
  "warmup": ("schedule.warmup", (100, 1), LinesOverRows("updates of warm-up")),
}
"""The setting, its values with the base's first, and the figure."""


def get_study(over: Literal["batch", "length", "warmup"] = "batch") -> Study:
  """Three norms, two places, two values."""
  field, values, figure = OVER[over]
  return Study(
    title=f"Norms over {field}",
    base=Config(
      data=Dates(examples=20_000, held_out=300),
      model=Transformer(layers=2, d_model=64, d_ff=256, heads=4, dropout=0.0),
      task=Translation(smoothing=0.0),
      tokenizer=SentencePiece(vocabulary=700, split_digits=True),
      batching=Packed(tokens=512, length=64),
      schedule=Cosine(rate=3e-3, warmup=100),
      steps=1200,
      eval_every=10_000,
      save_every=600,
    ),
    rows=tuple(
      Row(
        f"{norm} {place} {value}",
        {"model.norm": recipe, "model.residual": residual, field: value},
        line=f"{norm}, {place} the sublayer",
        x=value,
      )
      for norm, recipe in NORMS
      for place, residual in RESIDUALS
      for value in values
    ),
    columns=("val/loss", "val/exact_match"),
    held_out=(HeldOut(),),
    figure=figure,
  )
