"""Small runs of every task that is served, whose parameters are random."""

import dataclasses
from pathlib import Path

import jax
import numpy as np

from tests.models.test_family import small
from tests.tiny import TINY
from transformer.data.sources.digits import Digits
from transformer.data.sources.display_names import DisplayNames
from transformer.data.sources.stories import Stories
from transformer.layers.positions import Learned
from transformer.models.bert import Bert, BertClassifier
from transformer.models.memory_network import MemoryNetwork
from transformer.models.vit import VisionTransformer
from transformer.runs.prepare import prepare
from transformer.tasks.image_classification import ImageClassification
from transformer.tasks.masked_language_modelling import MaskedLanguageModelling
from transformer.tasks.question_answering import QuestionAnswering
from transformer.tasks.text_classification import TextClassification

NAMES = DisplayNames(examples=60, held_out=14, several=2)

STORIES = Stories(sentences=4)
_story = STORIES.open("train")[0]
STORY = " ".join((*_story.sentences, _story.question))
"""A text that the model of `questions` reads."""

CONFIGS = {
  "fill": dataclasses.replace(
    TINY,
    data=NAMES,
    model=dataclasses.replace(small(Bert), position=Learned(24)),
    task=MaskedLanguageModelling(context=24),
  ),
  "texts": dataclasses.replace(
    TINY,
    data=NAMES,
    model=dataclasses.replace(
      small(BertClassifier), classes=len(NAMES.classes), position=Learned(24)
    ),
    task=TextClassification(labels=NAMES.classes, context=24),
  ),
  "questions": dataclasses.replace(
    TINY,
    data=STORIES,
    model=small(MemoryNetwork),
    task=QuestionAnswering(sentences=4, words=8),
  ),
  "images": dataclasses.replace(
    TINY,
    data=Digits(),
    model=small(VisionTransformer),
    task=ImageClassification(size=4, channels=3),
  ),
}


def write_run(name: str, folder: Path) -> Path:
  """Writes a run of one of `CONFIGS` with a checkpoint, and returns its directory."""
  run, rng = prepare(CONFIGS[name], folder / name), np.random.default_rng(0)
  params = jax.tree.map(
    lambda leaf: rng.normal(0, 0.3, leaf.shape).astype(leaf.dtype),
    run.abstract_params(),
  )
  note = {"tokenizer_sha256": run.vocabulary.sha256}
  with run.checkpoints() as checkpoints:
    checkpoints.save_params(1, params, note)
  return folder / name
