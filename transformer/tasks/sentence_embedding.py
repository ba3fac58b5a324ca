"""Sentence embeddings, learned without labels (Gao et al. 2021)."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from transformer.batch import Sentences
from transformer.config import Range
from transformer.data.assemble import empty_tokens
from transformer.data.batching import Shape
from transformer.data.corpus import Corpus, Pieces, WithBos
from transformer.data.sources.base import Source
from transformer.data.tokenizer import Tokenizer
from transformer.inference.embed import TextEmbedder, token_vectors
from transformer.layers.pooling import Pooling, unit_length
from transformer.tasks.base import (
  LOSS,
  EvaluationInputs,
  Metric,
  Samples,
  Scores,
  mean_loss,
)
from transformer.tasks.texts import TextTask, open_texts
from transformer.training.losses import Mean

NUM_SAMPLES = 8
"""Held-out texts that an evaluation shows with their nearest neighbours."""


@dataclasses.dataclass(frozen=True)
class SentenceEmbedding(TextTask):
  """A vector for each text, near those of similar texts: SimCSE (Gao et al. 2021, §3).

  Every text of a batch is encoded twice with different dropout, and has to find its
  other self among the others by cosine similarity over `temperature` (eq. 4 there). In
  evaluation there is no dropout, so the held-out loss measures only how far apart the
  texts of a batch are. The negatives are those of a batch, or of one of its parts if
  `accumulate` divides it.

  A text is cut into pieces of at most `context` tokens, `BOS` counted.

  Attributes:
    context: tokens of a piece.
    pooling: how a text's tokens become one vector.
    normalise: whether `transformer embed` gives vectors of length 1.
    temperature: of the softmax over similarities.
  """

  verb: ClassVar[str] = "embed"
  scores = (LOSS, Metric("texts"))

  pooling: Pooling = Pooling()
  normalise: bool = True
  temperature: Annotated[float, Range(1e-6, 1_000_000)] = 0.05

  def __post_init__(self):
    if self.context < 3:
      raise ValueError(f"task.context: expected 3 or more, got {self.context}")

  def pieces(
    self, data: Source, split: str, tokenizer: Tokenizer, cache: Path, progress: bool
  ) -> "SentenceTexts":
    open_texts(data, split)
    texts = Corpus.build(data, split, tokenizer, cache, progress)
    return SentenceTexts(Pieces(texts, self.context - 1), self.context)

  def example(self, shape: Shape) -> Sentences:
    return Sentences(empty_tokens(shape.rows, shape.source))

  def loss(self, module, params, batch, key) -> tuple[Mean, Any]:
    tokens = batch.tokens
    # Every text has two tokens or more, `BOS` and another.
    examples = max(1, tokens.id_bt.shape[1] // 2)
    views: list[Any] = []
    changed: Any = {}
    for number in range(2):
      rngs = {} if key is None else {"dropout": jax.random.fold_in(key, number)}
      x_btd, changed = module.apply(
        {"params": params}, tokens, key is not None, rngs=rngs, mutable=["batch_stats"],
        method=token_vectors,
      )  # fmt: skip
      x_bed, real_be = self.pooling(x_btd, tokens, examples)
      views.append(unit_length(x_bed).reshape(-1, x_bed.shape[-1]))
    real_n = real_be.reshape(-1)
    sums = contrastive_loss(views[0], views[1], real_n, self.temperature)
    return sums, changed.get("batch_stats", {})

  def evaluate(self, inputs: EvaluationInputs) -> tuple[Scores, Samples]:
    texts = self.pieces(
      inputs.data, inputs.split, inputs.vocabulary, inputs.cache, progress=False
    )
    sums = mean_loss(self, inputs.module, inputs.params, texts)
    scores: Scores = {"loss": float(sums.value), "texts": float(sums.count)}
    return scores, self.samples(inputs, texts)

  def samples(self, inputs: EvaluationInputs, pieces: "SentenceTexts") -> Samples:
    """Each of the first texts, the most similar other one among them, and the cosine
    of the two."""
    tokenizer = inputs.vocabulary
    count = min(NUM_SAMPLES, len(pieces))
    texts = tokenizer.decode([pieces[i] for i in range(count)])
    embedder = TextEmbedder(
      inputs.module, inputs.params, tokenizer, self.pooling, True, self.context
    )
    return Samples(tuple(nearest(texts, embedder.embed(texts))))


class SentenceTexts(WithBos):
  """Texts that begin with `BOS`, in batches of `Sentences`."""

  def batch(self, shape: Shape, example_bm: np.ndarray) -> Sentences:  # type: ignore[override]
    """The texts of these numbers, -1 for none."""
    return Sentences(super().batch(shape, example_bm))


def contrastive_loss(x_nd, y_nd, real_n, temperature: float) -> Mean:
  """Nats by which every real row of `x` misses its own row of `y`, of length 1 each,
  among all real rows (Gao et al. 2021, eq. 4)."""
  scores_nm = jnp.einsum("nd,md->nm", x_nd, y_nd) / temperature
  scores_nm = jnp.where(real_n[None, :], scores_nm, jnp.finfo(jnp.float32).min)
  nats_n = jax.nn.logsumexp(scores_nm, axis=-1) - jnp.diagonal(scores_nm)
  return Mean(jnp.sum(jnp.where(real_n, nats_n, 0.0)), jnp.sum(real_n * 1.0))


def nearest(texts: Sequence[str], x_nd: np.ndarray):
  """`(text, its nearest neighbour, their cosine)` of texts with vectors of length 1."""
  cosine_nn = x_nd @ x_nd.T
  np.fill_diagonal(cosine_nn, -np.inf)
  for text, cosine_n in zip(texts, cosine_nn, strict=True):
    best = int(np.argmax(cosine_n))
    if np.isfinite(cosine_n[best]):
      yield text, texts[best], f"{cosine_n[best]:.3f}"
