"""Encoder-decoders: the matrices of the vocabulary, and how such a model is used,
whatever its layers."""

import dataclasses
from typing import Any, ClassVar

import numpy as np

from transformer.batch import PAD, Pairs
from transformer.data.batching import Packed
from transformer.data.id_order import IdOrder, id_order
from transformer.data.sources.parallel_text import ParallelText
from transformer.decoding.penalty import HeuristicLengthPower
from transformer.experiment import Config
from transformer.inference.search import Search
from transformer.interop.family import (
  Family,
  Origin,
  our_logits,
  random_tokens,
  torch_inputs,
)
from transformer.interop.tensor_map import Entry, VocabularyRows
from transformer.models.base import shift_right
from transformer.tasks.translation import Translation
from transformer.training.schedules import Schedule

NOT_COVERED = {
  "do_sample": False,
  "no_repeat_ngram_size": 0,
  "repetition_penalty": 1.0,
  "encoder_no_repeat_ngram_size": 0,
  "num_beam_groups": 1,
  "diversity_penalty": 0.0,
}
"""Settings of generation without a counterpart here, with what turns them off."""


@dataclasses.dataclass(frozen=True)
class EncoderDecoderFamily(Family):
  """A family of such models; a subclass has its settings and the names of its
  tensors."""

  unk_id: ClassVar[int] = 3
  """The unknown token, which config.json does not have, where no tokenizer says it."""

  def order(self, origin: Origin) -> IdOrder:
    return id_order(
      origin.size("vocab_size"), pad=origin.token("pad_token_id"),
      eos=origin.token("eos_token_id"), bos=origin.token("bos_token_id"),
      unk=self.unk_id,
    )  # fmt: skip

  def start_id(self, origin: Origin, order: IdOrder) -> int:
    """The token that the decoder reads first, in our order.

    Raises:
      ValueError: there is none.
    """
    start = origin.token("decoder_start_token_id")
    if start is None or start >= order.imported_size:
      raise ValueError(
        "config.json: decoder_start_token_id: expected an id of the vocabulary, got "
        f"{start}"
      )
    return int(order.ours[start])

  def vocabulary_tables(
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
    search = self.search(origin, order)
    return Config(
      data=ParallelText("train.source", "train.target"),
      model=model,
      task=Translation(search=search, decoding=search),
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
    found = [
      f"{name} {settings[name]}"
      for name, off in NOT_COVERED.items()
      if settings.get(name) not in (None, off)
    ]
    ends = settings.get("eos_token_id")
    if isinstance(ends, list) and len(ends) > 1:
      found.append(f"eos_token_id {ends}, of which the first alone ends an output")
    longer = [ids for ids in settings.get("bad_words_ids") or () if len(ids) > 1]
    if longer:
      found.append(f"bad_words_ids {longer}")
    return found

  def random_batch(self, model: Any, order: IdOrder, seed: int) -> Pairs:
    lengths = (9, 4, 1), (3, 7, 5)
    return Pairs(*(random_tokens(order, n, seed + i) for i, n in enumerate(lengths)))

  def torch_outputs(self, torch_model, batch: Pairs, order: IdOrder) -> np.ndarray:
    import torch

    start_id = int(order.ours[torch_model.generation_config.decoder_start_token_id])
    inputs = np.asarray(order.theirs)[np.asarray(shift_right(batch.target, start_id))]
    with torch.no_grad():
      logits_btv = torch_model(
        **torch_inputs(batch.source, order), decoder_input_ids=torch.from_numpy(inputs)
      ).logits.numpy()
    return our_logits(logits_btv, batch.target, order)
