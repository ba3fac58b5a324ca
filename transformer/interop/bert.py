"""BERT (Devlin et al. 2019): the encoder alone, also as a sentence-transformers model
(Reimers and Gurevych 2019), and with the heads for masked tokens and for classes."""

import abc
import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import numpy as np

from transformer.batch import Labelled, Sentences
from transformer.data.batching import Packed
from transformer.data.id_order import IdOrder, id_order
from transformer.data.sources.plain_text import PlainText
from transformer.experiment import Config
from transformer.interop.class_names import class_names
from transformer.interop.family import (
  Family,
  Origin,
  activation,
  our_logits,
  random_tokens,
  torch_inputs,
)
from transformer.interop.hf_directory import HFDirectory
from transformer.interop.sentence_modules import normalises, pooling, text_length
from transformer.interop.tensor_map import (
  Entry,
  Linear,
  Same,
  TensorMap,
  VocabularyRows,
  linear_map,
  norm,
)
from transformer.layers.embedding import Tying
from transformer.layers.norms import LayerNorm
from transformer.layers.positions import Learned
from transformer.models.bert import Bert, BertClassifier, BertEncoder
from transformer.tasks.base import Task
from transformer.tasks.masked_language_modelling import MaskedLanguageModelling
from transformer.tasks.sentence_embedding import SentenceEmbedding
from transformer.tasks.text_classification import TextClassification
from transformer.training.schedules import Schedule

LAYER = (
  ("attention.self.query", "self_attention/q", 1),
  ("attention.self.key", "self_key_value/k", 1),
  ("attention.self.value", "self_key_value/v", 1),
  ("attention.output.dense", "self_attention/o", 2),
  ("intermediate.dense", "feed_forward/w1", 1),
  ("output.dense", "feed_forward/w2", 1),
)
"""The linear maps of a layer, theirs and ours, and the number of axes of our inputs."""

NORMS = (
  ("attention.output.LayerNorm", "self_sublayer"),
  ("output.LayerNorm", "feed_forward_sublayer"),
)


LENGTHS = (9, 4, 1)
"""Those of the random texts."""


@dataclasses.dataclass(frozen=True)
class BertFamily(Family):
  """What all forms of BERT have; a subclass is one of Hugging Face's classes."""

  tokenizers: ClassVar[tuple[str, ...]] = ("BertTokenizer",)
  kind: ClassVar[type[Bert]]

  def order(self, origin: Origin) -> IdOrder:
    # config.json names no other special token, only the tokenizer does; without one,
    # the first ids stand for them.
    pad = origin.token("pad_token_id") or 0
    eos, bos, unk = [i for i in range(4) if i != pad][:3]
    return id_order(origin.size("vocab_size"), pad=pad, eos=eos, bos=bos, unk=unk)

  def model(self, origin: Origin, order: IdOrder) -> Bert:
    origin.expect(
      is_decoder=False, add_cross_attention=False, position_embedding_type="absolute",
      tie_word_embeddings=True,
    )  # fmt: skip
    layer_norm = LayerNorm(epsilon=origin.get("layer_norm_eps", float, 1e-12))
    return self.kind(
      layers=origin.size("num_hidden_layers"),
      d_model=origin.size("hidden_size"),
      d_ff=origin.size("intermediate_size"),
      heads=origin.size("num_attention_heads"),
      dropout=origin.get("hidden_dropout_prob", float, 0.1),
      attention_dropout=origin.get("attention_probs_dropout_prob", float, 0.1),
      position=Learned(origin.size("max_position_embeddings", 512)),
      norm=layer_norm,
      embedding_norm=layer_norm,
      feed_forward=activation(origin, "hidden_act", "gelu"),
      biases=True,
      tying=Tying(scaled=False),
      token_types=origin.size("type_vocab_size", 2),
      absent_ids=order.absent,
      **self.own_settings(origin),
    )

  def own_settings(self, origin: Origin) -> dict[str, Any]:
    """Settings that only this form has."""
    return {}

  def tensor_map(self, origin: Origin, model: Any, order: IdOrder) -> TensorMap:
    prefix = "bert." if any(name.startswith("bert.") for name in origin.infos) else ""
    # Directories converted from TensorFlow have its names.
    old = any(name.endswith(".LayerNorm.gamma") for name in origin.infos)
    names = ("gamma", "beta") if old else ("weight", "bias")
    embeddings, encoder = f"{prefix}embeddings", "encoder/position_encoding"
    entries = [
      Entry(
        f"{embeddings}.word_embeddings.weight", ("embedding/table",),
        VocabularyRows(order),
      ),
      Entry(
        f"{embeddings}.position_embeddings.weight", (f"{encoder}/position",), Same()
      ),
      Entry(f"{embeddings}.token_type_embeddings.weight", ("token_type",), Same()),
      *norm(f"{embeddings}.LayerNorm", f"{encoder}/norm", names=names),
    ]  # fmt: skip
    for i in range(model.layers):
      for theirs, ours, inputs in LAYER:
        tensor, path = f"{prefix}encoder.layer.{i}.{theirs}", f"encoder/layers/{ours}"
        entries += linear_map(tensor, path, Linear(inputs), i)
      for theirs, ours in NORMS:
        tensor, path = f"{prefix}encoder.layer.{i}.{theirs}", f"encoder/layers/{ours}"
        entries += norm(tensor, path, i, names)
    entries += self.head(prefix, names, model, order)
    constants = dict.fromkeys(
      (f"{embeddings}.position_ids", *self.unused_tensors(prefix))
    )
    return TensorMap(tuple(entries), self.copies(prefix), constants)

  @abc.abstractmethod
  def head(
    self, prefix: str, names: tuple[str, str], model: Any, order: IdOrder
  ) -> Iterator[Entry]:
    """The tensors after the encoder; `names` are those of a norm's scale and bias."""

  def copies(self, prefix: str) -> dict[str, str]:
    """Tensors that may be stored again, and where else."""
    return {}

  def unused_tensors(self, prefix: str) -> tuple[str, ...]:
    """Tensors that the class does not use; they go back as they came."""
    return ()

  @abc.abstractmethod
  def task(self, origin: Origin, model: Bert) -> Task:
    """What the run does."""

  def experiment(self, origin: Origin, model: Any, order: IdOrder) -> Config:
    return Config(
      data=PlainText(("train.txt",), lines=True),
      model=model,
      task=self.task(origin, model),
      batching=Packed(),
      schedule=Schedule(1e-5),
    )


@dataclasses.dataclass(frozen=True)
class BertOfTexts(BertFamily):
  """`BertModel`, which many models of sentence-transformers are."""

  architectures = ("BertModel",)
  kind = BertEncoder

  def own_settings(self, origin):
    return {"pooler": _has_pooler(origin.infos)}

  def head(self, prefix, names, model, order):
    if model.pooler:
      yield from linear_map(f"{prefix}pooler.dense", "class_head/pool", Linear())

  def task(self, origin, model):
    return SentenceEmbedding(
      context=text_length(origin.modules, model.position.length),
      pooling=pooling(origin.modules),
      normalise=normalises(origin.modules),
    )

  def random_batch(self, model, order, seed):
    return Sentences(random_tokens(order, LENGTHS, seed))

  def torch_outputs(self, torch_model, batch, order):
    import torch

    with torch.no_grad():
      x_btd = torch_model(**torch_inputs(batch.tokens, order)).last_hidden_state
      # The class pools first tokens alone, and makes a pooler where there is none.
      if _has_pooler(HFDirectory(torch_model.name_or_path).infos):
        x_btd = torch.tanh(torch_model.pooler.dense(x_btd))
    return np.where(batch.tokens.seg_bt[:, :, None] > 0, x_btd.numpy(), np.nan)


@dataclasses.dataclass(frozen=True)
class BertOfMasks(BertFamily):
  """`BertForMaskedLM`; a pooler and a head for the next sentence, with which BERT was
  pre-trained, may be there and are not used."""

  architectures = ("BertForMaskedLM",)
  kind = Bert

  def head(self, prefix, names, model, order):
    head = "cls.predictions"
    yield from linear_map(f"{head}.transform.dense", "masked_head/w", Linear())
    yield from norm(f"{head}.transform.LayerNorm", "masked_head", names=names)
    yield Entry(f"{head}.bias", ("bias",), VocabularyRows(order))

  def copies(self, prefix):
    table = f"{prefix}embeddings.word_embeddings.weight"
    decoder = "cls.predictions.decoder"
    return {f"{decoder}.weight": table, f"{decoder}.bias": "cls.predictions.bias"}

  def unused_tensors(self, prefix):
    maps = (f"{prefix}pooler.dense", "cls.seq_relationship")
    return tuple(f"{name}.{part}" for name in maps for part in ("weight", "bias"))

  def task(self, origin, model):
    return MaskedLanguageModelling(context=model.position.length)

  def random_batch(self, model, order, seed):
    return random_tokens(order, LENGTHS, seed)

  def torch_outputs(self, torch_model, batch, order):
    import torch

    with torch.no_grad():
      logits_btv = torch_model(**torch_inputs(batch, order)).logits.numpy()
    return our_logits(logits_btv, batch, order)


@dataclasses.dataclass(frozen=True)
class BertOfClasses(BertFamily):
  """`BertForSequenceClassification`, of one class of several."""

  architectures = ("BertForSequenceClassification",)
  kind = BertClassifier

  def own_settings(self, origin):
    return {"classes": len(class_names(origin.config))}

  def head(self, prefix, names, model, order):
    yield from linear_map(f"{prefix}pooler.dense", "class_head/pool", Linear())
    yield from linear_map("classifier", "class_head/w", Linear())

  def task(self, origin, model):
    labels = class_names(origin.config)
    return TextClassification(labels=labels, context=model.position.length)

  def random_batch(self, model, order, seed):
    tokens = random_tokens(order, LENGTHS, seed)
    return Labelled(tokens, np.zeros_like(tokens.id_bt))

  def torch_outputs(self, torch_model, batch, order):
    import torch

    with torch.no_grad():
      logits_bc = torch_model(**torch_inputs(batch.tokens, order)).logits.numpy()
    # Ours are of every token, and mean something at the first alone.
    first_bt1 = (np.arange(batch.class_bt.shape[1]) == 0)[None, :, None]
    return np.where(first_bt1, logits_bc[:, None], np.nan)


def _has_pooler(names: Iterable[str]) -> bool:
  return any(name.endswith("pooler.dense.weight") for name in names)
