"""One experiment: every setting that decides what a run computes, and the Python files
that return one."""

import dataclasses
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from transformer import config as configs
from transformer.data.batching import Batching, Packed
from transformer.data.sources.base import Source
from transformer.data.sources.dates import Dates
from transformer.data.sources.digits import Digits
from transformer.data.sources.display_names import DisplayNames
from transformer.data.sources.image_folder import ImageFolder
from transformer.data.sources.multi30k import Multi30k
from transformer.data.sources.parallel_text import ParallelText
from transformer.data.sources.plain_text import PlainText
from transformer.data.sources.shapes import Shapes
from transformer.data.sources.standard_library import StandardLibrary
from transformer.data.sources.stories import Stories
from transformer.data.sources.tfds import Tfds, TfdsLabelled, TfdsText
from transformer.data.sources.tfds_images import TfdsImages
from transformer.data.sources.topics import Topics
from transformer.data.tokenizer import TokenizerRecipe
from transformer.data.tokenizers.byte_level import BartTokenizer, GPT2Tokenizer
from transformer.data.tokenizers.multilingual import MBart50Tokenizer, NllbTokenizer
from transformer.data.tokenizers.sentence_piece import SentencePiece
from transformer.data.tokenizers.sentencepieces import M2M100Tokenizer, MarianTokenizer
from transformer.data.tokenizers.t5 import T5Tokenizer
from transformer.data.tokenizers.wordpiece import BertTokenizer
from transformer.layers.kernels import Kernel
from transformer.models.base import Model
from transformer.models.bert import Bert, BertClassifier, BertEncoder
from transformer.models.conv_seq2seq import ConvSeq2Seq
from transformer.models.decoder_only import DecoderOnly
from transformer.models.memory_network import MemoryNetwork
from transformer.models.parent import ParentModel
from transformer.models.resnet import ResNet
from transformer.models.rnn import RNNSeq2Seq
from transformer.models.rnn_search import RNNSearch
from transformer.models.transformer import Transformer
from transformer.models.transformer_xl import TransformerXL
from transformer.models.vit import DistilledVisionTransformer, VisionTransformer
from transformer.tasks.base import Task
from transformer.tasks.image_classification import ImageClassification
from transformer.tasks.language_modelling import LanguageModelling
from transformer.tasks.masked_language_modelling import MaskedLanguageModelling
from transformer.tasks.question_answering import QuestionAnswering
from transformer.tasks.segment_language_modelling import SegmentLanguageModelling
from transformer.tasks.sentence_embedding import SentenceEmbedding
from transformer.tasks.text_classification import TextClassification
from transformer.tasks.translation import Translation
from transformer.training.keep import Keep
from transformer.training.mesh import Mesh
from transformer.training.optimizers import Adam, Optimizer, frozen
from transformer.training.precision import Precision
from transformer.training.schedules import Noam, Schedule

if TYPE_CHECKING:
  import optax

SOURCES = (
  *(Dates, DisplayNames, Multi30k, ParallelText, PlainText, Tfds, TfdsLabelled),
  *(TfdsText, Topics, Digits, ImageFolder, Shapes, StandardLibrary, Stories),
  TfdsImages,
)
TOKENIZERS = (
  *(BartTokenizer, BertTokenizer, GPT2Tokenizer, M2M100Tokenizer, MBart50Tokenizer),
  *(MarianTokenizer, NllbTokenizer, SentencePiece, T5Tokenizer),
)
MODELS = (
  *(Bert, BertClassifier, BertEncoder, ConvSeq2Seq, DecoderOnly),
  *(DistilledVisionTransformer, MemoryNetwork, RNNSeq2Seq, RNNSearch, ResNet),
  *(TransformerXL, Transformer, VisionTransformer, ParentModel),
)
TASKS = (
  *(ImageClassification, LanguageModelling, MaskedLanguageModelling),
  *(QuestionAnswering, SegmentLanguageModelling, SentenceEmbedding),
  *(TextClassification, Translation),
)
"""Imported so that the command line and stored configs can name them."""


MINIMUMS = {
  **dict.fromkeys(("accumulate", "steps", "log_every", "eval_every", "save_every"), 1),
  **{"max_consecutive_skips": 1, "seed": 0, "patience": 0},
}
"""The smallest allowed values of settings."""


@dataclasses.dataclass(frozen=True)
class Config:
  """An experiment. The defaults are the paper's base model.

  Attributes:
    data: where the examples come from.
    model: what is trained.
    task: what it is trained for, and how it is evaluated.
    tokenizer: how text becomes tokens.
    batching: which examples share a batch.
    optimizer: the update rule.
    schedule: the learning rate of every update.
    precision: the dtype of the computation.
    mesh: how devices are arranged.
    accumulate: the number of parts of a batch that are computed one after another, to
      save memory.
    steps: the number of updates.
    seed: the random seed of parameters, data order and dropout.
    log_every: steps between two rows of metrics.csv.
    eval_every: steps between two evaluations on held-out data.
    save_every: steps between two checkpoints.
    keep: which checkpoints are kept.
    metric: the held-out score by which checkpoints are ranked.
    patience: training stops after this many evaluations without a new best; 0 never
      stops it.
    ema: decay of the exponential moving average of the parameters, with which the run
      is then evaluated and used (Polyak and Juditsky 1992); 0 turns it off.
    max_consecutive_skips: training stops after this many steps in a row with a loss or
      gradient that is not finite; each of them is skipped.
    init: a run from which parameters are initialised, where names and shapes agree, and
      whose vocabulary is used, except for image classes, which are those of `data`; it
      is read once, before the first step.
    freeze: prefixes of the paths of parameters that are not trained, such as `encoder`
      or `encoder/layers`.
  """

  data: Source
  model: Model = Transformer()
  task: Task = Translation()
  tokenizer: TokenizerRecipe = SentencePiece()
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
  ema: configs.Fraction = 0.0
  max_consecutive_skips: int = 10
  init: str = ""
  freeze: tuple[str, ...] = ()

  def __post_init__(self):
    configs.check(self)
    for name, minimum in MINIMUMS.items():
      configs.check_at_least(name, getattr(self, name), minimum)
    scores = [metric.name for metric in self.task.scores]
    if self.metric not in scores:
      raise ValueError(
        f"metric: expected a score of {type(self.task).__name__} "
        f"({', '.join(scores)}), got {self.metric!r}"
      )

  def gradient_transformation(self, weights: Any) -> "optax.GradientTransformation":
    """The optimizer at the schedule's learning rates; frozen parameters stay.

    `weights` are those of `training.state.abstract_weights`.
    """
    rule = self.optimizer.transform(
      lambda count: self.learning_rate(count + 1), weights
    )
    return frozen(rule, self.freeze)

  def learning_rate(self, step):
    """The rate of update number `step`, counted from 1; it may be traced."""
    return self.schedule(step, self.model.width, self.steps)


RESUMABLE_CHANGES = frozenset(
  (
    *("steps", "log_every", "eval_every", "save_every", "keep", "patience"),
    *("max_consecutive_skips", "mesh", "accumulate", "data.directory"),
    "task.eval_memory_length",
  )
)
"""Settings that may differ when a run is resumed: they do not change what a step
computes. (`accumulate` draws other dropout masks, from the same distribution.)"""

SPEED_SETTINGS = frozenset(("unroll", "remat", "kernel", "cross_entropy"))
"""Settings, at any depth, that change speed and memory only, and may differ too; a
kernel where it is one of attention."""


def resume_conflicts(old: Config, new: Config) -> list[str]:
  """The settings that keep a run made with `old` from being resumed with `new`, one
  short line per setting."""
  conflicts = []
  # A schedule may follow the number of steps, which may change.
  old, new = (
    dataclasses.replace(each, schedule=each.schedule.resolved(each.steps))
    for each in (old, new)
  )
  for path, before, now in configs.differences(old, new):
    names = path.split(".")
    speed = SPEED_SETTINGS & set(names)
    if names[-1] == "kernel" and not isinstance(before, Kernel):
      speed -= {"kernel"}  # the width of a convolution
    may_change = {path, names[0]} & RESUMABLE_CHANGES or speed
    if not may_change:
      before, now = map(configs.abbreviate, map(configs.written, (before, now)))
      conflicts.append(f"{path}: {before} in the run, {now} now")
  return conflicts


def read_config(path: Path | str) -> Config:
  """The config that `get_config()` of a Python file returns.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it fails, or returns something else.
  """
  get_config = load_function(path, "get_config")
  try:
    config = get_config()
  except Exception as error:
    raise ValueError(f"{path}: {type(error).__name__}: {error}") from error
  if not isinstance(config, Config):
    raise ValueError(
      f"{path}: expected get_config() to return a Config, got {type(config).__name__}"
    )
  return config


def load_function(path: Path | str, name: str) -> Callable:
  """A function or class of a Python file, which is run.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it fails, or has no such function.
  """
  module = import_file(path)
  if not hasattr(module, name):
    raise ValueError(f"{path}: expected a function {name}(), got none")
  return getattr(module, name)


FILE_MODULE = "file:"
"""Begins the module names of imported files."""


def import_file(path: Path | str) -> ModuleType:
  """Runs a Python file, so that configs can name the recipes which it defines.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it fails.
  """
  path = Path(path)
  if not path.is_file():
    raise FileNotFoundError(f"{path}: no such Python file")
  name = f"{FILE_MODULE}{path.resolve()}"
  loader = importlib.machinery.SourceFileLoader(name, str(path))
  spec = importlib.util.spec_from_loader(name, loader)
  assert spec is not None
  module = importlib.util.module_from_spec(spec)
  # A class refers to its subclasses weakly: recipes can be found by name as long as
  # their module is kept.
  sys.modules[name] = module
  try:
    loader.exec_module(module)
  except Exception as error:
    del sys.modules[name]
    raise ValueError(f"{path}: {type(error).__name__}: {error}") from error
  return module


def imported_files() -> list[Path]:
  """The Python files that this process has imported, in order."""
  names = [name for name in sys.modules if name.startswith(FILE_MODULE)]
  return [Path(name.removeprefix(FILE_MODULE)) for name in names]
