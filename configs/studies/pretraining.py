"""What pre-training on other images gives a Vision Transformer and a residual network.

Claim: with pre-training the Vision Transformer, which has less built in about images,
gains more than the residual network (Dosovitskiy et al. 2021, §4.3).
Command: python train.py --config configs/vit.py --workdir runs/vit_shapes \\
    --config.data="Shapes()"
  python train.py --config configs/vit.py --workdir runs/vit_shapes_long \\
    --config.data="Shapes()" --config.steps=6000
  python train.py --config configs/resnet.py --workdir runs/resnet_shapes \\
    --config.data="Shapes()" --config.model.base_channels=18 --config.steps=2000
  transformer ablate configs/studies/pretraining.py --workdir DIR
Cost: 15 rows, three seeds: 12 minutes on one core, and 5 for the three runs before.
Result: not shown: with 78 images 0.693 becomes 0.755, and 0.847 of the residual network
0.882; with 1,245, 0.900 stays 0.899 and 0.970 becomes 0.988 (2026-11-26);
docs/studies.md.

Takes `pip install 'transformer[images]'`.
"""

import dataclasses
from pathlib import Path

from transformer import experiment
from transformer.models.resnet import Block, ResNet, Stem
from transformer.studies.figures import LinesOverRows
from transformer.studies.rows import HeldOut, Row
from transformer.studies.study import Study
from transformer.training.schedules import Cosine

IMAGES = (1245, 78, 311)
"""All of the digits for training first, then a sixteenth and a quarter of them."""

RESIDUAL = ResNet(
  stages=(1, 1, 1), base_channels=18, block=Block(), stem=Stem(), channels=1
)
"""As many channels as data_size.py finds for the parameters of the other network."""

RANDOM = {"random": ""}
VISION_TRANSFORMERS = RANDOM | {
  "pre-trained": "runs/vit_shapes",
  "pre-trained longer": "runs/vit_shapes_long",
}
RESIDUALS = RANDOM | {"pre-trained": "runs/resnet_shapes"}
"""What each network starts from."""


def get_study() -> Study:
  """The networks and updates of data_size.py, from random parameters or from those of a
  run on `Shapes`, whose head is not taken: it has 12 classes. The Vision Transformer
  learns shapes slowly, and is pre-trained three times as long too."""
  base = dataclasses.replace(
    experiment.read_config(Path(__file__).parents[1] / "vit.py"),
    schedule=Cosine(rate=2e-3, warmup=50),
    steps=800,
    eval_every=10_000,
    save_every=400,
  )
  return Study(
    title="Pre-training on shapes",
    base=base,
    rows=tuple(
      Row(
        f"{name}, {start} {n}",
        {**changes, "init": init, "data.examples": n},
        line=f"{name}, {start}",
        x=n,
      )
      for name, changes, starts in (
        ("Vision Transformer", {}, VISION_TRANSFORMERS),
        ("residual network", {"model": RESIDUAL}, RESIDUALS),
      )
      for start, init in starts.items()
      for n in IMAGES
    ),
    columns=("test/accuracy", "test/loss"),
    held_out=(HeldOut("test", "test"),),
    figure=LinesOverRows("training images", logarithmic=True),
  )
