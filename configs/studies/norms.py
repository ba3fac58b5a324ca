"""Norms: layer, RMS and batch, after and before the sublayer, in four settings.

Claim: after the sublayer a norm needs warm-up, before it none (Xiong et al. 2020);
batch norm loses where batches are small or lengths vary (Shen et al. 2020).
Command: transformer ablate configs/studies/norms.py --workdir DIR
Cost: 24 rows, three seeds: 18 minutes of one core.
Result: the first is seen with layer norm, 4 points lost after the sublayer and none
before; of the second nothing beyond the deviation over seeds (2026-11-26);
docs/studies.md.
"""

from transformer.data.batching import Packed
from transformer.data.sources.dates import Dates
from transformer.data.tokenizers.sentence_piece import SentencePiece
from transformer.experiment import Config
from transformer.layers.norms import BatchNorm, LayerNorm, RMSNorm
from transformer.layers.residual import PreNorm, Residual
from transformer.models.transformer import Transformer
from transformer.studies.figures import DotPlotByLine
from transformer.studies.rows import HeldOut, Row
from transformer.studies.study import Study
from transformer.tasks.translation import Translation
from transformer.training.schedules import Cosine

NORMS = (("layer", LayerNorm()), ("RMS", RMSNorm()), ("batch", BatchNorm()))
RESIDUALS = (("after", Residual()), ("before", PreNorm()))
SETTINGS = (
  ("base", {}),
  ("no warm-up", {"schedule.warmup": 1}),
  ("128 tokens", {"batching.tokens": 128}),
  ("two dates", {"data.several": 2}),
)
"""What differs from the base: nothing, warm-up, the tokens of a batch, length."""


def get_study() -> Study:
  """Three norms, two places, four settings."""
  return Study(
    title="Norms after and before the sublayer",
    base=Config(
      data=Dates(examples=20_000, held_out=300),
      model=Transformer(layers=2, d_model=64, d_ff=256, heads=4, dropout=0.0),
      task=Translation(smoothing=0.0),
      tokenizer=SentencePiece(vocabulary=700, split_digits=True),
      batching=Packed(tokens=512, length=64),
      schedule=Cosine(rate=3e-3, warmup=100),
      steps=800,
      eval_every=10_000,
      save_every=400,
    ),
    rows=tuple(
      Row(
        f"{norm} {place}" + f", {name}" * bool(changes),
        {"model.norm": recipe, "model.residual": residual, **changes},
        line=name,
      )
      for name, changes in SETTINGS
      for norm, recipe in NORMS
      for place, residual in RESIDUALS
    ),
    columns=("val/loss", "val/exact_match"),
    held_out=(HeldOut(),),
    figure=DotPlotByLine("val/exact_match"),
  )
