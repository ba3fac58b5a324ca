"""A translation model of OPUS-MT, fine-tuned on a text pair (Tiedemann and Thottingal
2020; MarianMT in Hugging Face's transformers).

Claim: a model that was imported is trained further as one that was trained here, its
vocabulary and settings its own, and written back for Hugging Face's class.
Command: hf download Helsinki-NLP/opus-mt-en-de --local-dir opus-mt-en-de
  transformer convert opus-mt-en-de runs/opus-mt-en-de
  python train.py --config configs/opus_mt.py
  transformer convert runs/opus_mt tuned --to huggingface
Cost: 75 million parameters; a GPU is worth having. On few texts, train the decoder
alone: --config.freeze="('encoder', 'embedding')".
Result: none yet on a real model of OPUS-MT; docs/huggingface.md says what was tried.

Other data: --config.data="ParallelText('train.en', 'train.de')"
Other models: --config.init=RUN; the model is that run's.
"""

from transformer.data.batching import Packed
from transformer.data.sources.multi30k import Multi30k
from transformer.decoding.penalty import LengthPower
from transformer.experiment import Config
from transformer.inference.search import Search
from transformer.models.parent import ParentModel
from transformer.tasks.translation import Translation
from transformer.training.optimizers import Adam
from transformer.training.schedules import Linear


def get_config() -> Config:
  """The experiment; learning rate and batch are usual for fine-tuning such a model."""
  return Config(
    data=Multi30k(),
    model=ParentModel(),
    task=Translation(smoothing=0.1, search=Search(beam=1, penalty=LengthPower(1.0))),
    batching=Packed(tokens=4096, length=128),
    optimizer=Adam(),
    schedule=Linear(rate=3e-5, warmup=100, steps=2000),
    steps=2000,
    eval_every=500,
    save_every=500,
    metric="bleu",
    init="runs/opus-mt-en-de",
    # The class of transformers does not train it either.
    freeze=("embedding/logits_bias",),
  )
