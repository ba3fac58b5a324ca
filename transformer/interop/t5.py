"""T5 (Raffel et al. 2020), T5 v1.1 and Flan-T5 (Chung et al. 2022): no biases, RMS norm
before each sublayer, scores that are not scaled, relative position biases."""

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar

from transformer.data.id_order import IdOrder
from transformer.interop.encoder_decoder import EncoderDecoderFamily
from transformer.interop.family import ACTIVATIONS, Origin
from transformer.interop.tensor_map import Entry, Layout, Linear, Same, TensorMap
from transformer.layers.embedding import TiedInputs, Tying
from transformer.layers.feedforward import GEGLU, GLU, FeedForward, SwiGLU
from transformer.layers.norms import RMSNorm
from transformer.layers.positions import T5Bias
from transformer.layers.residual import PreNorm
from transformer.layers.scores import Dot
from transformer.models.transformer import Transformer

OUTPUT = "lm_head.weight"

FEED_FORWARDS: dict[str, FeedForward] = {
  **{name: dataclasses.replace(x, biases=False) for name, x in ACTIVATIONS.items()},
  "gated-gelu": GEGLU(approximate=True),
  "gated-gelu_new": GEGLU(approximate=True),
  "gated-silu": SwiGLU(),
}
"""Feed-forward networks by `feed_forward_proj`."""

ATTENTIONS = (("self", "SelfAttention"), ("source", "EncDecAttention"))

MODULES = (("q", "attention", 1), ("k", "key_value", 1), ("v", "key_value", 1),
           ("o", "attention", 2))  # fmt: skip
"""The matrices of attention, the modules that have them here, and the number of axes of
their inputs."""


@dataclasses.dataclass(frozen=True)
class T5(EncoderDecoderFamily):
  """v1.0 has ReLU and logits of the embeddings divided by sqrt(d_model), v1.1 a gated
  GELU and a matrix for the logits. The decoder reads the token of padding first."""

  architectures = ("T5ForConditionalGeneration",)
  tokenizers: ClassVar[tuple[str, ...]] = ("T5Tokenizer",)
  unk_id: ClassVar[int] = 2

  def tying(self, origin: Origin) -> Tying:
    """Which of the matrices of the vocabulary are one."""
    # Where the logits are not scaled, the class still ties a matrix that is not there.
    tied = origin.get("tie_word_embeddings", bool, True)
    scaled = origin.get("scale_decoder_outputs", bool, tied)
    kind = TiedInputs if not scaled and OUTPUT in origin.infos else Tying
    return kind(scaled=False, scaled_logits=scaled)

  def model(self, origin: Origin, order: IdOrder) -> Transformer:
    dropout = origin.get("dropout_rate", float, 0.1)
    layers = origin.size("num_layers")
    # Directories of v1.0 have null here.
    decoder_layers = origin.config.get("num_decoder_layers")
    width = origin.size("d_kv")
    return Transformer(
      layers=layers,
      decoder_layers=layers if decoder_layers is None
      else origin.size("num_decoder_layers"),
      d_model=origin.size("d_model"),
      d_ff=origin.size("d_ff"),
      heads=origin.size("num_heads"),
      d_k=width,
      d_v=width,
      dropout=dropout,
      attention_dropout=dropout,
      position=T5Bias(
        origin.size("relative_attention_num_buckets", 32),
        origin.size("relative_attention_max_distance", 128),
      ),
      score=Dot(),
      norm=RMSNorm(epsilon=origin.get("layer_norm_epsilon", float, 1e-6)),
      residual=PreNorm(),
      feed_forward=dataclasses.replace(self.feed_forward(origin), dropout=dropout),
      tying=self.tying(origin),
      start_id=self.start_id(origin, order),
      absent_ids=order.absent,
    )  # fmt: skip

  def feed_forward(self, origin: Origin) -> FeedForward:
    """The feed-forward network.

    Raises:
      ValueError: it is not covered.
    """
    name = origin.get("feed_forward_proj", str, "relu")
    if name not in FEED_FORWARDS:
      raise ValueError(
        f"config.json: feed_forward_proj: {name!r} is not covered; covered are "
        f"{', '.join(FEED_FORWARDS)}"
      )
    return FEED_FORWARDS[name]

  def tensor_map(self, origin: Origin, model: Any, order: IdOrder) -> TensorMap:
    gated = isinstance(model.feed_forward, GLU)
    entries = [
      *self._stack("encoder", model.layers, ATTENTIONS[:1], gated),
      *self._stack("decoder", model.decoder_depth, ATTENTIONS, gated),
    ]
    tables, copies = self.vocabulary_tables(origin, "", model, order)
    # The first directories had a table that no attention to the source uses.
    unused = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    return TensorMap((*entries, *tables), copies, {unused: None})

  def _stack(
    self, name: str, count: int, attentions: tuple[tuple[str, str], ...], gated: bool
  ) -> Iterator[Entry]:
    maps = (("wi_0", "w1"), ("wi_1", "v")) if gated else (("wi", "w1"),)
    path = f"{name}/layers"
    for i in range(count):
      sublayers = [f"{name}.block.{i}.layer.{j}" for j in range(len(attentions) + 1)]
      for theirs, (ours, module) in zip(sublayers[:-1], attentions, strict=True):
        for letter, part, inputs in MODULES:
          yield Entry(
            f"{theirs}.{module}.{letter}.weight",
            (f"{path}/{ours}_{part}/{letter}",), Linear(inputs), i,
          )  # fmt: skip
        yield _norm(theirs, f"{path}/{ours}_sublayer", i)
      theirs = sublayers[-1]
      for their_map, our_map in (*maps, ("wo", "w2")):
        yield Entry(
          f"{theirs}.DenseReluDense.{their_map}.weight",
          (f"{path}/feed_forward/{our_map}",), Linear(), i,
        )  # fmt: skip
      yield _norm(theirs, f"{path}/feed_forward_sublayer", i)
    bias = f"{name}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    yield Entry(bias, (f"{name}/position_bias/table",), Same())
    yield Entry(
      f"{name}.final_layer_norm.weight", (f"{name}/final_norm/scale",), Layout()
    )


def _norm(tensor: str, path: str, layer: int) -> Entry:
  return Entry(f"{tensor}.layer_norm.weight", (f"{path}/scale",), Layout(), layer)
