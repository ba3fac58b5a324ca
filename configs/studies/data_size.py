"""A Vision Transformer against a residual network by the number of training images.

Claim: with few images convolutions win, and the distance shrinks as images are added
(Dosovitskiy et al. 2021, §4.3, who see it reverse with millions in pre-training).
Command: transformer ablate configs/studies/data_size.py --workdir DIR
Cost: 10 rows, three seeds: about 20 minutes on one core.
Result: 0.646 against 0.842 with 78 images, 0.889 against 0.970 with 1,245 (2026-11-21);
docs/studies.md.

Takes `pip install 'transformer[images]'`.
"""

import dataclasses
from pathlib import Path

from transformer import experiment
from transformer.models.resnet import Block, ResNet, Stem
from transformer.studies.figures import LinesOverRows
from transformer.studies.rows import HeldOut, Match, MatchParameters, Row
from transformer.studies.study import Study
from transformer.training.schedules import Cosine

IMAGES = (1245, 78, 156, 311, 623)
"""All of the digits for training first, then a sixteenth to a half of them."""

RESIDUAL = ResNet(
  stages=(1, 1, 1), base_channels=16, block=Block(), stem=Stem(), channels=1
)


def get_study() -> Study:
  """Two networks of as many parameters, five numbers of images, the same updates."""
  base = dataclasses.replace(
    experiment.read_config(Path(__file__).parents[1] / "vit.py"),
    schedule=Cosine(rate=2e-3, warmup=50),
    steps=800,
    eval_every=10_000,
    save_every=400,
  )
  return Study(
    title="Accuracy by the number of training images",
    base=base,
    rows=tuple(
      Row(
        f"{name} {n}",
        {**changes, "data.examples": n},
        line=name,
        x=n,
        match=MatchParameters("model.base_channels") if changes else Match(),
      )
      for name, changes in (
        ("Vision Transformer", {}),
        ("residual network", {"model": RESIDUAL}),
      )
      for n in IMAGES
    ),
    columns=("test/accuracy", "test/loss"),
    held_out=(HeldOut("test", "test"),),
    figure=LinesOverRows("training images", logarithmic=True),
  )
