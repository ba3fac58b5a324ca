"""One experiment: every setting that decides what a run computes."""

import dataclasses
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import optax

from transformer import config as configs
from transformer.data.batching import Batching, Packed
from transformer.data.sources.base import Source
from transformer.data.sources.dates import Dates
from transformer.data.sources.display_names import DisplayNames
from transformer.data.sources.images import Digits, ImageFolder, TfdsImages
from transformer.data.sources.multi30k import Multi30k
from transformer.data.sources.parallel_text import ParallelText
from transformer.data.sources.plain_text import PlainText
from transformer.data.sources.stories import Stories
from transformer.data.sources.tfds import Tfds, TfdsLabelled, TfdsText
from transformer.data.sources.topics import Topics
from transformer.data.tokenizer import SentencePiece
from transformer.models.base import Model
from transformer.models.bert import Bert, BertClassifier
from transformer.models.conv_seq2seq import ConvSeq2Seq
from transformer.models.decoder_only import DecoderOnly
from transformer.models.memory_network import MemoryNetwork
from transformer.models.resnet import ResNet
from transformer.models.rnn import RNNSeq2Seq
from transformer.models.rnn_search import RNNSearch
from transformer.models.transformer import Transformer
from transformer.models.transformer_xl import TransformerXL
from transformer.models.vit import VisionTransformer
from transformer.tasks.base import Task
from transformer.tasks.image_classification import ImageClassification
from transformer.tasks.language_modelling import LanguageModelling
from transformer.tasks.masked_language_modelling import MaskedLanguageModelling
from transformer.tasks.question_answering import QuestionAnswering
from transformer.tasks.segment_language_modelling import SegmentLanguageModelling
from transformer.tasks.text_classification import TextClassification
from transformer.tasks.translation import Translation
from transformer.training.keep import Keep
from transformer.training.mesh import Mesh
from transformer.training.optimizers import Adam, Optimizer, frozen
from transformer.training.precision import Precision
from transformer.training.schedules import Noam, Schedule

SOURCES = (
  *(Dates, DisplayNames, Multi30k, ParallelText, PlainText, Tfds, TfdsLabelled),
  *(TfdsText, Topics, Digits, ImageFolder, Stories, TfdsImages),
)
MODELS = (
  *(Bert, BertClassifier, ConvSeq2Seq, DecoderOnly, MemoryNetwork, RNNSeq2Seq),
  *(RNNSearch, ResNet, TransformerXL, Transformer, VisionTransformer),
)
TASKS = (
  *(ImageClassification, LanguageModelling, MaskedLanguageModelling),
  *(QuestionAnswering, SegmentLanguageModelling, TextClassification, Translation),
)
"""Imported so that the command line and a stored config know them by name."""


@dataclasses.dataclass(frozen=True)
class Config:
  """An experiment. The defaults are the paper's base model.

  Attributes:
    data: where the examples come from.
    model: what is trained.
    task: what it is trained for, and how it is evaluated.
    tokenizer: how text becomes tokens.
    batching: which examples share a batch.
    optimizer, schedule: the update rule and its learning rate.
    precision: what the model computes in.
    mesh: how devices are arranged.
    accumulate: how many parts of a batch are computed one after another, in less
      memory.
    steps: how many updates to make.
    seed: fixes parameters, order of the data and dropout.
    log_every, eval_every, save_every: in steps.
    keep: which checkpoints stay.
    metric: the held-out score that says which are the best.
    patience: training ends after so many evaluations without a new best; 0 goes on.
    ema: decay of the moving average of the parameters, which the run is then evaluated
      and used with (Polyak and Juditsky 1992); 0 keeps none.
    max_consecutive_skips: training ends after so many steps in a row whose loss or gradient is
      not finite; each of them makes no update.
    init: a run whose parameters, as far as names and shapes fit, this one begins with,
      and whose vocabulary it keeps; it is read once, before the first step.
    freeze: beginnings of the paths of parameters that stay as they are, such as
      `encoder` or `encoder/layers`.
  """

  data: Source
  model: Model = Transformer()
  task: Task = Translation()
  tokenizer: SentencePiece = SentencePiece()
  batching: Batching = Packed()
  optimizer: Optimizer = Adam()
  schedule: Schedule = Noam()
  precision: Precision = Precision()
  mesh: Mesh = Mesh()
  accumulate: int = 1
  steps: int = 100_000
  seed: int = 0
  log_every: int = 50
  eval_every: int = 1000
  save_every: int = 1000
  keep: Keep = Keep()
  metric: str = "loss"
  patience: int = 0
  ema: float = 0.0
  max_consecutive_skips: int = 10
  init: str = ""
  freeze: tuple[str, ...] = ()

  def __post_init__(self):
    configs.check(self)
    for name in (
      "accumulate",
      "steps",
      "log_every",
      "eval_every",
      "save_every",
      "max_consecutive_skips",
    ):
      if getattr(self, name) < 1:
        raise ValueError(f"{name}: {getattr(self, name)} is less than 1")
    try:
      self.task.metric(self.metric)
    except ValueError as error:
      raise ValueError(f"metric: {error}") from None
    for name in ("seed", "patience"):
      if getattr(self, name) < 0:
        raise ValueError(f"{name}: {getattr(self, name)} is negative")
    if not 0 <= self.ema < 1:
      raise ValueError(f"ema: {self.ema} is not a decay of 0 or more and below 1")

  def rule(self) -> optax.GradientTransformation:
    """The update rule, at the schedule's rates, of what is not frozen."""
    rule = self.optimizer.transform(
      lambda count: self.schedule(count + 1, self.model.width)
    )
    return frozen(rule, self.freeze)


MAY_CHANGE = frozenset(
  (
    *("steps", "log_every", "eval_every", "save_every", "keep", "patience"),
    *("max_consecutive_skips", "mesh", "accumulate", "data.directory", "task.memory"),
  )
)
"""Settings that may differ when a run is gone on with: they do not change what a step
computes. `accumulate` draws other numbers for dropout, of the same distribution."""

SPEED = frozenset(("unroll", "remat", "kernel", "cross_entropy"))
"""Settings, at any depth, that change speed and memory alone."""


def conflicts(old: Config, new: Config) -> list[str]:
  """What speaks against going on with a run made with `old` under `new`, one line a
  setting."""
  found = []
  for path, was, now in configs.differences(old, new):
    names = path.split(".")
    if not {path, names[0]} & MAY_CHANGE and not SPEED & set(names):
      found.append(f"{path}: {was!r} in the run, {now!r} now")
  return found


def read(path: Path) -> Config:
  """The config that a Python file's `get_config()` returns.

  Raises:
    FileNotFoundError, ValueError: there is no such file, or it gives no config.
  """
  function = load(path, "get_config")
  try:
    config = function()
  except Exception as error:
    raise ValueError(f"{path}: {type(error).__name__}: {error}") from error
  if not isinstance(config, Config):
    raise ValueError(f"{path}: get_config() returns {type(config).__name__}, no Config")
  return config


def load(path: Path, name: str) -> Callable:
  """A function or class of a Python file, which is run.

  Raises:
    FileNotFoundError, ValueError: there is no such file, or it has none.
  """
  path = Path(path)
  if not path.is_file():
    raise FileNotFoundError(f"{path}: no such config file; see configs/")
  spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
  if spec is None or spec.loader is None:
    raise ValueError(f"{path}: not a Python file")
  module = importlib.util.module_from_spec(spec)
  # A base class refers to its subclasses weakly: the file's recipes are known by name
  # for as long as somebody holds its module.
  sys.modules[spec.name] = module
  try:
    spec.loader.exec_module(module)
    return getattr(module, name)
  except Exception as error:
    raise ValueError(f"{path}: {type(error).__name__}: {error}") from error
