"""Encoder-decoders whose layers are named as BART's in Hugging Face's transformers:
the layers, the matrices of the vocabulary, and how such a model is used."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np

from transformer.batch import PAD, UNK, Pairs, Tokens
from transformer.data.batching import Packed
from transformer.data.id_order import ABSENT, IdOrder, id_order
from transformer.data.sources.parallel_text import ParallelText
from transformer.decoding.penalty import HeuristicLengthPower
from transformer.experiment import Config
from transformer.inference.search import Search
from transformer.interop.family import Family, Origin, activation
from transformer.interop.tensor_map import (
  Entry,
  Layout,
  Linear,
  Shape,
  TensorMap,
  VocabularyRow,
  VocabularyRows,
)
from transformer.layers.embedding import TiedInputs, TiedTarget, Tying, Untied
from transformer.layers.norms import LayerNorm, Norm
from transformer.layers.positions import Position
from transformer.layers.residual import Residual
from transformer.models.base import shift_right
from transformer.models.transformer import Transformer
from transformer.tasks.translation import Translation
from transformer.training.schedules import Schedule

NORM = LayerNorm(epsilon=1e-5)
"""PyTorch's default."""

LOGITS_BIAS = "final_logits_bias"

NOT_COVERED = {
  "no_repeat_ngram_size": 0,
  "repetition_penalty": 1.0,
  "encoder_no_repeat_ngram_size": 0,
  "num_beam_groups": 1,
  "diversity_penalty": 0.0,
}
"""Settings of generation without a counterpart here, with what turns them off."""


@dataclasses.dataclass(frozen=True)
class EncoderDecoderFamily(Family):
  """A family of such models; a subclass says what is its own."""

  residual: ClassVar[Residual] = Residual()
  embedding_norm: ClassVar[Norm] = Norm()
  default_activation: ClassVar[str] = "gelu"
  default_scaled: ClassVar[bool] = False
  unk_id: ClassVar[int] = 3
  """The unknown token, which config.json does not have, where no tokenizer says it."""

  def position(self, origin: Origin) -> Position:
    """The positions."""
    raise NotImplementedError

  def position_constants(
    self, origin: Origin, model: Transformer
  ) -> dict[str, Callable[[Shape], Any] | None]:
    """Tables of positions that a directory may have although they are computed."""
    return {}

  def order(self, origin: Origin) -> IdOrder:
    return id_order(
      origin.size("vocab_size"), pad=origin.token("pad_token_id"),
      eos=origin.token("eos_token_id"), bos=origin.token("bos_token_id"),
      unk=self.unk_id,
    )  # fmt: skip

  def tying(self, origin: Origin) -> Tying:
    """Which of the matrices of the vocabulary are one."""
    shared = origin.get("share_encoder_decoder_embeddings", bool, True)
    tied = origin.get("tie_word_embeddings", bool, True)
    kinds: dict[tuple[bool, bool], type[Tying]] = {
      (True, True): Tying,
      (False, True): TiedTarget,
      (True, False): TiedInputs,
      (False, False): Untied,
    }
    scaled = origin.get("scale_embedding", bool, self.default_scaled)
    return kinds[shared, tied](scaled=scaled)

  def model(self, origin: Origin, order: IdOrder) -> Transformer:
    heads, d_ff = (
      self._same_in_both(origin, name) for name in ("attention_heads", "ffn_dim")
    )
    vocabulary = origin.size("vocab_size")
    targets = origin.config.get("decoder_vocab_size") or vocabulary
    if targets != vocabulary:
      raise ValueError(
        f"config.json: decoder_vocab_size: {targets} is not covered, only vocab_size "
        f"{vocabulary}: sources and targets share one vocabulary here"
      )
    start = origin.token("decoder_start_token_id")
    if start is None or start >= order.imported_size:
      raise ValueError(
        "config.json: decoder_start_token_id: expected an id of the vocabulary, got "
        f"{start}"
      )
    feed_forward = activation(origin, "activation_function", self.default_activation)
    return Transformer(
      layers=origin.size("encoder_layers"),
      decoder_layers=origin.size("decoder_layers"),
      d_model=origin.size("d_model"),
      d_ff=d_ff,
      heads=heads,
      dropout=origin.get("dropout", float, 0.1),
      attention_dropout=origin.get("attention_dropout", float, 0.0),
      position=self.position(origin),
      norm=NORM,
      residual=self.residual,
      feed_forward=feed_forward(origin.get("activation_dropout", float, 0.0)),
      biases=True,
      embedding_norm=self.embedding_norm,
      tying=self.tying(origin),
      start_id=int(order.ours[start]),
      logits_bias=LOGITS_BIAS in origin.infos,
      absent_ids=order.absent,
    )

  def _same_in_both(self, origin: Origin, name: str) -> int:
    encoder, decoder = (
      origin.size(f"{side}_{name}") for side in ("encoder", "decoder")
    )
    if encoder != decoder:
      raise ValueError(
        f"config.json: encoder_{name} {encoder} and decoder_{name} {decoder}: expected "
        "the same, different ones are not covered"
      )
    return encoder

  def tensor_map(self, origin: Origin, model: Any, order: IdOrder) -> TensorMap:
    # Directories of the bare model, without the class for generation, have no prefix.
    bare = not any(name.startswith("model.") for name in origin.infos)
    prefix = "" if bare else "model."
    entries = [*self._layers(f"{prefix}encoder", "encoder", model.layers, ("self",))]
    entries += self._layers(
      f"{prefix}decoder", "decoder", model.decoder_depth, ("self", "source")
    )
    for stack in ("encoder", "decoder"):
      entries += self._around_layers(f"{prefix}{stack}", stack, model)
    if model.logits_bias:
      row = VocabularyRow(order)
      entries.append(Entry(LOGITS_BIAS, ("embedding/logits_bias",), row))
    tables, copies = self._tables(origin, prefix, model, order)
    constants = {
      f"{prefix}{name}": values
      for name, values in self.position_constants(origin, model).items()
    }
    constants |= {f"{prefix}{stack}.version": None for stack in ("encoder", "decoder")}
    return TensorMap((*entries, *tables), copies, constants)

  def _layers(
    self, theirs: str, ours: str, count: int, attentions: tuple[str, ...]
  ) -> Iterator[Entry]:
    names = {"self": "self_attn", "source": "encoder_attn"}
    for i in range(count):
      start, path = f"{theirs}.layers.{i}", f"{ours}/layers"
      for kind in attentions:
        name = names[kind]
        for letter, module, layout in (
          ("q", "attention", Linear(1)),
          ("k", "key_value", Linear(1)),
          ("v", "key_value", Linear(1)),
          ("o", "attention", Linear(2)),
        ):
          tensor = f"{start}.{name}.{'out' if letter == 'o' else letter}_proj"
          yield from _map(tensor, f"{path}/{kind}_{module}/{letter}", layout, i)
        yield from _norm(f"{start}.{name}_layer_norm", f"{path}/{kind}_sublayer", i)
      for number in (1, 2):
        matrix = f"{path}/feed_forward/w{number}"
        yield from _map(f"{start}.fc{number}", matrix, Linear(1), i)
      norm = f"{path}/feed_forward_sublayer"
      yield from _norm(f"{start}.final_layer_norm", norm, i)

  def _around_layers(self, theirs: str, ours: str, model: Any) -> Iterator[Entry]:
    if model.embedding_norm != Norm():
      yield from _norm(
        f"{theirs}.layernorm_embedding", f"{ours}/position_encoding/norm"
      )
    if model.residual != Residual():
      yield from _norm(f"{theirs}.layer_norm", f"{ours}/final_norm")
    yield from self.position_entries(theirs, ours)

  def position_entries(self, theirs: str, ours: str) -> Iterator[Entry]:
    """The learned positions of one stack."""
    yield from ()

  def _tables(
    self, origin: Origin, prefix: str, model: Any, order: IdOrder
  ) -> tuple[list[Entry], dict[str, str]]:
    """The matrices of the vocabulary, each under the first of its names that is there;
    the other names are of copies."""
    source, target, output = model.tying.tables
    names: dict[str, list[str]] = {}
    if source == target:
      names[source] = [f"{prefix}shared.weight"]
    names.setdefault(source, []).append(f"{prefix}encoder.embed_tokens.weight")
    names.setdefault(target, []).append(f"{prefix}decoder.embed_tokens.weight")
    names.setdefault(output, []).append("lm_head.weight")
    rows, entries = VocabularyRows(order), []
    copies: dict[str, str] = {}
    for table, known in names.items():
      first = next((name for name in known if name in origin.infos), known[0])
      entries.append(Entry(first, (f"embedding/{table}",), rows))
      copies |= {name: first for name in known if name != first}
    return entries, copies

  def experiment(self, origin: Origin, model: Any, order: IdOrder) -> Config:
    return Config(
      data=ParallelText("train.source", "train.target"),
      model=model,
      task=Translation(search=self.search(origin, order)),
      batching=Packed(),
      schedule=Schedule(1e-5),
    )

  def search(self, origin: Origin, order: IdOrder) -> Search:
    """The search that generation_config.json (or, in older directories, config.json)
    describes; what it has no counterpart for is in `uncovered`."""
    settings = {**origin.config, **origin.generation}
    beam = settings.get("num_beams") or 1
    alpha = settings.get("length_penalty")
    longest = settings.get("max_length")
    forced = settings.get("forced_bos_token_id")
    # Theirs counts the first token, and the last where it is forced.
    ends = 1 + (settings.get("forced_eos_token_id") is not None)
    words = settings.get("bad_words_ids") or ()
    suppressed = [ids[0] for ids in words if len(ids) == 1]
    return Search(
      beam=beam,
      penalty=HeuristicLengthPower(1.0 if alpha is None else float(alpha)),
      min_length=max(0, (settings.get("min_length") or 0) - 1),
      max_length=None if longest is None else max(1, longest - ends),
      suppressed=tuple(i for i in map(int, order.ours[suppressed]) if i != PAD),
      prefix=() if forced is None else (int(order.ours[forced]),),
    )

  def torch_class(self, architecture: str) -> str:
    # The bare model has no logits; its class for generation opens it too.
    return self.architectures[0]

  def uncovered(self, origin: Origin) -> list[str]:
    settings = {**origin.config, **origin.generation}
    return [
      f"{name} {settings[name]}"
      for name, off in NOT_COVERED.items()
      if settings.get(name) not in (None, off)
    ]

  def random_batch(self, model: Any, order: IdOrder, seed: int) -> Pairs:
    generator = np.random.default_rng(seed)

    def tokens(lengths):
      id_bt = generator.integers(UNK + 1, order.size, (len(lengths), max(lengths)))
      real_bt = np.arange(max(lengths)) < np.asarray(lengths)[:, None]
      pos_bt = np.where(real_bt, np.arange(max(lengths)), 0)
      id_bt = np.where(real_bt, id_bt, PAD)
      return Tokens(*(x.astype(np.int32) for x in (id_bt, pos_bt, real_bt)))

    return Pairs(tokens((9, 4, 1)), tokens((3, 7, 5)))

  def torch_outputs(self, torch_model, batch: Pairs, order: IdOrder) -> np.ndarray:
    import torch

    theirs = np.asarray(order.theirs)
    start_id = int(order.ours[torch_model.config.decoder_start_token_id])
    inputs = theirs[np.asarray(shift_right(batch.target, start_id))]
    with torch.no_grad():
      logits_btv = torch_model(
        input_ids=torch.from_numpy(theirs[batch.source.id_bt]),
        attention_mask=torch.from_numpy(batch.source.seg_bt.astype(np.int64)),
        decoder_input_ids=torch.from_numpy(inputs),
      ).logits.numpy()
    logits_btv = logits_btv[:, :, np.maximum(theirs, 0)]
    meant_btv = (batch.target.seg_bt > 0)[:, :, None] & (theirs != ABSENT)
    return np.where(meant_btv, logits_btv, np.nan)


def _map(
  tensor: str, path: str, layout: Layout, layer: int | None = None
) -> Iterator[Entry]:
  """A linear map with its bias."""
  yield Entry(f"{tensor}.weight", (path,), layout, layer)
  yield Entry(f"{tensor}.bias", (f"{path}_bias",), Layout(), layer)


def _norm(tensor: str, path: str, layer: int | None = None) -> Iterator[Entry]:
  """A layer norm."""
  yield Entry(f"{tensor}.weight", (f"{path}/scale",), Layout(), layer)
  yield Entry(f"{tensor}.bias", (f"{path}/bias",), Layout(), layer)
