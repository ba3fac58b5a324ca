"""Language modelling with a memory: segment by segment through a text (Dai et al.
2019)."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformer.batch import BOS, TextWithContext, Tokens
from transformer.data.assemble import empty_tokens
from transformer.data.batching import Batching, Shape
from transformer.data.corpus import Corpus, TextSegments
from transformer.data.sources.base import Source
from transformer.data.tokenizer import Tokenizer
from transformer.inference.batches import group_rows, pad_ids, pad_tokens
from transformer.inference.devices import Devices
from transformer.tasks.base import EvaluationInputs, TrainingData, next_tokens
from transformer.tasks.language_modelling import LanguageModelling
from transformer.tasks.texts import open_texts, text_training_data
from transformer.training.losses import Mean, cross_entropy

ROWS = 16
"""Texts that are read side by side in evaluation."""


@dataclasses.dataclass(frozen=True)
class SegmentLanguageModelling(LanguageModelling):
  """The next token of a text, given its segment of `context` tokens and a memory of the
  segments before.

  In training an example is a segment and up to `memory_length` tokens of the same text
  before it. These are read first, in the same step and with the same parameters, get no
  gradient and no loss, and are the segment's memory. So a batch is a pure function of
  the step, and a run resumes exactly; the cost is one more forward pass over them. The
  memory always comes from the newest parameters and reaches back `memory_length`
  tokens; the paper's comes from the step before, so it reaches farther and is stale.

  In evaluation a text is read from its beginning to its end, with a memory of
  `eval_memory_length` tokens, whose own states had a memory in turn.

  Attributes:
    memory_length: tokens before a segment in training.
    eval_memory_length: tokens of memory in evaluation; may change when a run resumes.
  """

  scores = LanguageModelling.scores

  memory_length: int = 128
  eval_memory_length: int = 128

  def __post_init__(self):
    super().__post_init__()
    for name in ("memory_length", "eval_memory_length"):
      if getattr(self, name) < 0:
        raise ValueError(f"task.{name}: expected 0 or more, got {getattr(self, name)}")

  @property
  def generation_context(self) -> int:
    """A segment and the memory before it."""
    return self.context + self.memory_length

  def training_data(
    self,
    data: Source,
    tokenizer: Tokenizer,
    batching: Batching,
    seed: int,
    cache: Path,
  ) -> TrainingData:
    open_texts(data, "train")
    texts = Corpus.build(data, "train", tokenizer, cache, progress=True)
    segments = TextSegments(texts, self.context, self.memory_length)
    return text_training_data(segments, tokenizer, batching, seed)

  def example(self, shape: Shape) -> TextWithContext:
    return TextWithContext(
      empty_tokens(shape.rows, shape.source), empty_tokens(shape.rows, shape.target)
    )

  def loss(self, module, params, batch, key) -> tuple[Mean, Any]:
    smoothing = 0.0 if key is None else self.smoothing
    target = next_token_targets(batch.text)
    return next_tokens(
      module, params, batch, target, self.cross_entropy, smoothing, key
    )

  def held_out_loss(self, inputs: EvaluationInputs) -> Mean:
    open_texts(inputs.data, inputs.split)
    texts = Corpus.build(
      inputs.data, inputs.split, inputs.vocabulary, inputs.cache, progress=False
    )
    return segment_by_segment(
      inputs.module, inputs.params, texts, self.context, self.eval_memory_length,
      inputs.devices,
    )  # fmt: skip


def next_token_targets(text: Tokens) -> Tokens:
  """The next token of its example at every token; padding at the last."""
  id_bt, pos_bt, seg_bt = (jnp.roll(part, -1, axis=1) for part in text)
  continues_bt = (seg_bt == text.seg_bt) & (pos_bt == text.pos_bt + 1)
  return Tokens(id_bt, pos_bt, jnp.where(continues_bt, text.seg_bt, 0))


def segment_by_segment(
  module, params, texts: Corpus, length: int, memory_length: int, devices=Devices()
) -> Mean:
  """Loss sums of whole texts, read in segments of `length` tokens with a memory of
  `memory_length`. Every text begins with an empty memory of its own."""
  order = np.argsort(-texts.lengths_n2[:, 0], kind="stable")
  sums = Mean(jnp.zeros(()), jnp.zeros(()))
  for _, rows, indices in group_rows(order.tolist(), ROWS * devices.count):
    streams = [np.concatenate([[BOS], texts[i][0]]) for i in indices]
    longest = len(streams[0]) - 1
    memory = module.apply({"params": params}, rows, memory_length, method="nothing")
    for start in range(0, longest, length):
      stop = start + length
      tokens, target_bt = devices.put(
        (
          pad_tokens([ids[:-1][start:stop] for ids in streams], rows, length),
          pad_ids([ids[1:][start:stop] for ids in streams], rows, length),
        )
      )
      segment_sums, memory = read_segment(
        module, params, tokens, target_bt, memory, memory_length
      )
      sums = sums + segment_sums
  return sums


@functools.partial(jax.jit, static_argnames=("module", "memory_length"))
def read_segment(module, params, tokens: Tokens, target_bt, memory, memory_length: int):
  """Loss sums of one segment of every row, and the memory after it."""
  variables = {"params": params}
  x_btd, new = module.apply(variables, tokens, memory, method="read")
  logits_btv = module.apply(variables, x_btd, method="logits")
  sums = cross_entropy(logits_btv, target_bt, tokens.seg_bt != 0)
  return sums, memory.then(new, memory_length)
