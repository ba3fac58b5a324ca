"""Handwritten digits by a Vision Transformer (Dosovitskiy et al. 2021).

Claim: the encoder of the Transformer classifies images too, as sequences of patches and
without convolutions.
Command: python train.py --config configs/vit.py
  transformer classify runs/vit digit.png
Cost: 54 s on 2 cores.
Result: accuracy 0.971 on the 276 digits of val and 0.949 on those of test (2026-11-21),
where the most frequent digit has 0.109 and 0.094, and the residual network of resnet.py
0.996 and 0.953: in the paper too little data favours convolutions (§4.3).

Needs `pip install 'transformer[images]'`. Other images:
--config.data="ImageFolder('flowers')", a directory with a sub-directory for each class,
or a prepared TFDS set, --config.data="TfdsImages('cifar10')"; with, say,
--config.task.size=32 --config.task.channels=3 --config.model.channels=3
--config.model.patch=4.
"""

from transformer.data.batching import Rows
from transformer.data.images import RandomCrop
from transformer.data.sources.digits import Digits
from transformer.experiment import Config
from transformer.layers.feedforward import GELU
from transformer.layers.positions import Learned
from transformer.models.vit import VisionTransformer
from transformer.tasks.image_classification import ImageClassification
from transformer.training.optimizers import AdamW
from transformer.training.schedules import Cosine


def get_config() -> Config:
  """The experiment."""
  return Config(
    data=Digits(),
    model=VisionTransformer(
      layers=3,
      d_model=64,
      d_ff=128,
      heads=4,
      dropout=0.1,
      position=Learned(length=17),
      feed_forward=GELU(dropout=0.1),
      patch=2,
      channels=1,
    ),
    task=ImageClassification(
      size=8, channels=1, augmentation=RandomCrop(pixels=1, flip=False), smoothing=0.1
    ),
    batching=Rows(64),
    optimizer=AdamW(decay=0.1),
    schedule=Cosine(rate=2e-3, warmup=100),
    steps=2000,
    eval_every=500,
    save_every=500,
    metric="accuracy",
  )
