"""Encoder-decoders whose layers are named as BART's in Hugging Face's transformers."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from transformer.data.id_order import IdOrder
from transformer.interop.encoder_decoder import EncoderDecoderFamily
from transformer.interop.family import Origin, activation
from transformer.interop.tensor_map import (
  Entry,
  Linear,
  Shape,
  TensorMap,
  VocabularyRow,
  linear_map,
  norm,
)
from transformer.layers.embedding import TiedInputs, TiedTarget, Tying, Untied
from transformer.layers.norms import LayerNorm, Norm
from transformer.layers.positions import Position
from transformer.layers.residual import Residual
from transformer.models.transformer import Transformer

NORM = LayerNorm(epsilon=1e-5)
"""PyTorch's default."""

LOGITS_BIAS = "final_logits_bias"


@dataclasses.dataclass(frozen=True)
class BartLayers(EncoderDecoderFamily):
  """A family of such models; a subclass says what is its own."""

  residual: ClassVar[Residual] = Residual()
  embedding_norm: ClassVar[Norm] = Norm()
  default_activation: ClassVar[str] = "gelu"
  default_scaled: ClassVar[bool] = False

  def position(self, origin: Origin) -> Position:
    """The positions."""
    raise NotImplementedError

  def position_constants(
    self, origin: Origin, model: Transformer
  ) -> dict[str, Callable[[Shape], Any] | None]:
    """Tables of positions that a directory may have although they are computed."""
    return {}

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
      feed_forward=dataclasses.replace(
        feed_forward, dropout=origin.get("activation_dropout", float, 0.0)
      ),
      biases=True,
      embedding_norm=self.embedding_norm,
      tying=self.tying(origin),
      start_id=self.start_id(origin, order),
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
    tables, copies = self.vocabulary_tables(origin, prefix, model, order)
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
        attention = f"{start}.{names[kind]}"
        for letter, module, layout in (
          ("q", "attention", Linear(1)),
          ("k", "key_value", Linear(1)),
          ("v", "key_value", Linear(1)),
          ("o", "attention", Linear(2)),
        ):
          tensor = f"{attention}.{'out' if letter == 'o' else letter}_proj"
          yield from linear_map(tensor, f"{path}/{kind}_{module}/{letter}", layout, i)
        yield from norm(f"{attention}_layer_norm", f"{path}/{kind}_sublayer", i)
      for number in (1, 2):
        matrix = f"{path}/feed_forward/w{number}"
        yield from linear_map(f"{start}.fc{number}", matrix, Linear(1), i)
      sublayer = f"{path}/feed_forward_sublayer"
      yield from norm(f"{start}.final_layer_norm", sublayer, i)

  def _around_layers(self, theirs: str, ours: str, model: Any) -> Iterator[Entry]:
    if model.embedding_norm != Norm():
      yield from norm(f"{theirs}.layernorm_embedding", f"{ours}/position_encoding/norm")
    if model.residual != Residual():
      yield from norm(f"{theirs}.layer_norm", f"{ours}/final_norm")
    yield from self.position_entries(theirs, ours)

  def position_entries(self, theirs: str, ours: str) -> Iterator[Entry]:
    """The learned positions of one stack."""
    yield from ()
