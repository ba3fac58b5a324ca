"""A run that embeds texts, for programs."""

from pathlib import Path

from transformer.inference.embed import TextEmbedder, check_encoder
from transformer.layers.pooling import Pooling
from transformer.runs.run import Run
from transformer.tasks.sentence_embedding import SentenceEmbedding


class Embedder(TextEmbedder):
  """The encoder, parameters and tokenizer of a run."""

  @classmethod
  def open(
    cls,
    path: Path | str,
    step: int | None = None,
    pooling: Pooling | None = None,
    normalise: bool | None = None,
  ) -> "Embedder":
    """Opens a run's directory.

    Args:
      path: the run.
      step: the checkpoint, the newest if None.
      pooling, normalise: if None, those of the run's task if it is
        `SentenceEmbedding`, else the mean over tokens, not normalised.

    Raises:
      FileNotFoundError: it is not a run, or has no such checkpoint.
      ValueError: it is damaged, or its model has no encoder of texts.
    """
    run = Run.open(path)
    task, module = run.config.task, run.module()
    try:
      check_encoder(module)
    except ValueError as error:
      raise ValueError(f"{run.path}: {error}") from None
    if isinstance(task, SentenceEmbedding):
      pooling = task.pooling if pooling is None else pooling
      normalise = task.normalise if normalise is None else normalise
    return cls(
      module, run.params(step), run.tokenizer, pooling or Pooling(), bool(normalise),
      getattr(task, "context", None),
    )  # fmt: skip
