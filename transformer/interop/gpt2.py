"""GPT-2 (Radford et al. 2019): a decoder alone, with the norm before each sublayer."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from transformer.batch import Tokens
from transformer.data.batching import Packed
from transformer.data.id_order import IdOrder, id_order
from transformer.data.sources.plain_text import PlainText
from transformer.experiment import Config
from transformer.interop.family import (
  Family,
  Origin,
  activation,
  our_logits,
  random_tokens,
)
from transformer.interop.tensor_map import (
  Conv1D,
  Entry,
  Layout,
  Same,
  Shape,
  TensorMap,
  VocabularyRows,
  norm,
)
from transformer.layers.embedding import Tying
from transformer.layers.norms import LayerNorm
from transformer.layers.positions import Learned
from transformer.layers.residual import PreNorm
from transformer.models.base import shift_right
from transformer.models.decoder_only import DecoderOnly
from transformer.tasks.language_modelling import LanguageModelling
from transformer.training.schedules import Schedule

MAPS = (
  ("attn.c_attn", ("self_attention/q", "self_key_value/k", "self_key_value/v"), 1),
  ("attn.c_proj", ("self_attention/o",), 2),
  ("mlp.c_fc", ("feed_forward/w1",), 1),
  ("mlp.c_proj", ("feed_forward/w2",), 1),
)
"""The linear maps of a layer, theirs and ours, and the number of axes of our inputs."""

NORMS = (("ln_1", "self_sublayer"), ("ln_2", "feed_forward_sublayer"))


@dataclasses.dataclass(frozen=True)
class GPT2(Family):
  """One token begins, ends and separates texts. It stands before every text in
  training, and before a prompt only where that is empty, as in `generate` there."""

  architectures = ("GPT2LMHeadModel", "GPT2Model")
  tokenizers: ClassVar[tuple[str, ...]] = ("GPT2Tokenizer",)

  def order(self, origin: Origin) -> IdOrder:
    eos = origin.token("eos_token_id")
    return id_order(origin.size("vocab_size"), eos=eos)

  def model(self, origin: Origin, order: IdOrder) -> DecoderOnly:
    origin.expect(
      scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False,
      add_cross_attention=False, tie_word_embeddings=True,
    )  # fmt: skip
    width = origin.size("n_embd")
    eos = origin.token("eos_token_id")
    if eos is None or eos >= order.imported_size:
      raise ValueError(
        f"config.json: eos_token_id: expected an id of the vocabulary, got {eos}"
      )
    return DecoderOnly(
      layers=origin.size("n_layer"),
      d_model=width,
      d_ff=4 * width if origin.config.get("n_inner") is None
      else origin.size("n_inner"),
      heads=origin.size("n_head"),
      dropout=origin.get("resid_pdrop", float, 0.1),
      attention_dropout=origin.get("attn_pdrop", float, 0.1),
      position=Learned(origin.size("n_positions", 1024)),
      norm=LayerNorm(epsilon=origin.get("layer_norm_epsilon", float, 1e-5)),
      residual=PreNorm(),
      feed_forward=activation(origin, "activation_function", "gelu_new"),
      biases=True,
      tying=Tying(scaled=False),
      start_id=int(order.ours[eos]),
      absent_ids=order.absent,
    )  # fmt: skip

  def tensor_map(self, origin: Origin, model: Any, order: IdOrder) -> TensorMap:
    # The first directories, and those of the bare model, have no prefix.
    bare = not any(name.startswith("transformer.") for name in origin.infos)
    prefix = "" if bare else "transformer."
    rows = VocabularyRows(order)
    entries = [
      Entry(f"{prefix}wte.weight", ("embedding/table",), rows),
      Entry(f"{prefix}wpe.weight", ("position_encoding/position",), Same()),
      *norm(f"{prefix}ln_f", "final_norm"),
    ]
    constants: dict[str, Callable[[Shape], Any] | None] = {}
    for i in range(model.layers):
      start = f"{prefix}h.{i}"
      for theirs, ours, inputs in MAPS:
        paths = tuple(f"layers/{name}" for name in ours)
        biases = tuple(f"{path}_bias" for path in paths)
        entries.append(Entry(f"{start}.{theirs}.weight", paths, Conv1D(inputs), i))
        entries.append(Entry(f"{start}.{theirs}.bias", biases, Layout(), i))
      for theirs, module in NORMS:
        entries += norm(f"{start}.{theirs}", f"layers/{module}", i)
      constants |= {
        f"{start}.attn.bias": causal_mask, f"{start}.attn.masked_bias": masked_score
      }  # fmt: skip
    return TensorMap(
      tuple(entries), {"lm_head.weight": f"{prefix}wte.weight"}, constants
    )

  def experiment(self, origin: Origin, model: Any, order: IdOrder) -> Config:
    return Config(
      data=PlainText(("train.txt",)),
      model=model,
      task=LanguageModelling(context=model.position.length, start_token=False),
      batching=Packed(),
      schedule=Schedule(1e-5),
    )

  def torch_class(self, architecture: str) -> str:
    # The bare model has no logits; the class that has them opens it too.
    return self.architectures[0]

  def random_batch(self, model: Any, order: IdOrder, seed: int) -> Tokens:
    return random_tokens(order, (9, 4, 1), seed)

  def torch_outputs(self, torch_model, batch: Tokens, order: IdOrder) -> np.ndarray:
    import torch

    start_id = int(order.ours[torch_model.config.eos_token_id])
    inputs = np.asarray(order.theirs)[np.asarray(shift_right(batch, start_id))]
    mask = torch.from_numpy(batch.seg_bt.astype(np.int64))
    with torch.no_grad():
      logits_btv = torch_model(
        input_ids=torch.from_numpy(inputs), attention_mask=mask
      ).logits.numpy()
    return our_logits(logits_btv, batch, order)


def causal_mask(shape: Shape) -> np.ndarray:
  """The buffer that marks what a token attends to, `[1, 1, t, t]`."""
  return np.tril(np.ones(shape, np.float64))


def masked_score(shape: Shape) -> np.ndarray:
  """The buffer of the score of all others."""
  return np.full(shape, -1e4)
