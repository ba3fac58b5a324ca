"""Translation: pairs of texts, smoothed cross-entropy, BLEU on raw references."""

import dataclasses
from pathlib import Path
from typing import Any

import tqdm

from transformer.batch import Pairs
from transformer.config import Fraction
from transformer.data.assemble import empty_tokens
from transformer.data.batching import Batching, Shape
from transformer.data.corpus import Corpus
from transformer.data.sources.base import Source
from transformer.data.tokenizer import Tokenizer, TokenizerRecipe
from transformer.inference.devices import Devices
from transformer.inference.search import Search, Searcher
from transformer.models.base import Model
from transformer.tasks.base import (
  LOSS,
  EvaluationInputs,
  Metric,
  Samples,
  Scores,
  Task,
  TrainingData,
  mean_loss,
  next_tokens,
  training_data_of,
)
from transformer.tasks.text_scores import (
  DEFAULT,
  BleuTokenizer,
  bleu_metric,
  text_scores,
)
from transformer.training.losses import CrossEntropy, Mean


@dataclasses.dataclass(frozen=True)
class Translation(Task):
  """The translation of a text.

  Attributes:
    smoothing: epsilon_ls of label smoothing (Vaswani et al. 2017, §5.4).
    search: decodes held-out text in training; greedy, because it is fast.
    decoding: decodes texts afterwards, where no flag says otherwise; a converted
      model's is that of its directory.
    cross_entropy: how much of the logits exists at a time; memory and speed alone.
    tokenize: how BLEU divides a text into words, as sacreBLEU names it; 13a is for
      scripts with spaces, zh, ja-mecab and char for Chinese and Japanese.
  """

  scores = (LOSS, Metric("exact_match"), Metric("bleu"), Metric("chrf"))
  trains_on_copies = True

  smoothing: Fraction = 0.1
  search: Search = Search(beam=1)
  decoding: Search = Search()
  cross_entropy: CrossEntropy = CrossEntropy()
  tokenize: BleuTokenizer = DEFAULT

  def check(self, model: Model) -> None:
    bleu_metric(self.tokenize, "--config.task.tokenize")

  def make_vocabulary(self, data: Source, recipe: TokenizerRecipe) -> bytes:
    pairs = data.open("train")

    def texts():
      for i in range(len(pairs)):
        yield from pairs[i]

    return recipe.train(texts())

  def training_data(
    self,
    data: Source,
    tokenizer: Tokenizer,
    batching: Batching,
    seed: int,
    cache: Path,
  ) -> TrainingData:
    copies = [
      corpus_of(data, "train", copy, cache, progress=True)
      for copy in tokenizer.training_copies(seed)
    ]
    corpus, pairs = Corpus.joined(copies), len(copies[0])
    plan = batching.plan(corpus.lengths_n2, seed, corpus.min_lengths)
    divided = f", divided at random {len(copies)} times" if len(copies) > 1 else ""
    notes = [
      *data.notes(),
      f"{pairs:,} training pairs{divided}, vocabulary {tokenizer.size:,}, "
      f"{plan.batches:,} steps an epoch, {plan.fill(corpus.lengths_n2):.0%} of slots "
      f"filled, shapes {len(plan.shapes)}",
    ]

    def locate(example: int) -> str:
      return data.locate("train", example % pairs)

    notes += plan.left_out.notes("pairs", "one side is empty", locate)
    return training_data_of(corpus, plan, notes)

  def example(self, shape: Shape) -> Pairs:
    return Pairs(
      empty_tokens(shape.rows, shape.source), empty_tokens(shape.rows, shape.target)
    )

  def loss(self, module, params, batch, key) -> tuple[Mean, Any]:
    smoothing = 0.0 if key is None else self.smoothing
    return next_tokens(
      module, params, batch, batch.target, self.cross_entropy, smoothing, key
    )

  def evaluate(self, inputs: EvaluationInputs) -> tuple[Scores, Samples]:
    module, params, tokenizer = inputs.module, inputs.params, inputs.vocabulary
    data, split = inputs.data, inputs.split
    corpus = corpus_of(data, split, tokenizer, inputs.cache, progress=False)
    devices = inputs.devices
    scores: Scores = {"loss": self.held_out_loss(module, params, corpus, devices)}
    pairs = data.open(split)
    sources = [pairs[i].source for i in range(len(pairs))]
    references = [pairs[i].target for i in range(len(pairs))]
    search = dataclasses.replace(self.search, prefix=tokenizer.prefix)
    searcher = Searcher(module, params, search, devices=devices)
    with tqdm.tqdm(
      total=len(pairs), desc=split, unit=" sentences", leave=False,
      disable=not inputs.progress,
    ) as bar:  # fmt: skip
      outputs = searcher.texts(sources, tokenizer, bar.update)
    scores |= text_scores(outputs, references, self.tokenize)
    return scores, Samples(tuple(zip(sources, outputs, references, strict=True)))

  def held_out_loss(
    self, module, params, corpus: Corpus, devices: Devices = Devices()
  ) -> float:
    """Mean cross-entropy in nats per token, without smoothing and dropout."""
    return float(mean_loss(self, module, params, corpus, devices).value)


def corpus_of(
  data: Source, split: str, tokenizer: Tokenizer, cache: Path, progress: bool
) -> Corpus:
  """A split of a source, tokenised once and cached under `cache`."""
  return Corpus.build(data, split, tokenizer, cache, progress=progress)
