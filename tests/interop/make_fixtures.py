"""Makes the fixtures of encoder-decoders with the Hugging Face classes.

Needs a Python with PyTorch and transformers: `python make_fixtures.py`. Writes
`fixtures/NAME/`: a small random model as `save_pretrained` writes it, and
`expected.safetensors` with inputs, the logits that the class computes from them, and
the tokens that its greedy and its beam search find.
"""

import shutil
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file

FIXTURES = Path(__file__).with_name("fixtures")
SIZES = {
  "vocab_size": 43,
  "d_model": 24,
  "encoder_layers": 2,
  "decoder_layers": 3,
  "encoder_ffn_dim": 28,
  "decoder_ffn_dim": 28,
  "encoder_attention_heads": 4,
  "decoder_attention_heads": 4,
  "max_position_embeddings": 40,
}
SOURCES, TARGETS = (9, 4, 6), (5, 7, 2)


def randomise(model, seed: int):
  """Random weights, scales around 1 and no bias 0, so that each can be wrong."""
  generator = torch.Generator().manual_seed(seed)
  with torch.no_grad():
    for name, weight in model.named_parameters():
      if "embed_positions" in name and not weight.requires_grad:
        continue
      scale = "norm" in name.lower() and name.endswith("weight")
      # Where its own embedding dominates, a token is followed by itself for ever.
      size = 0.15 if "embed" in name or "shared" in name else 0.6
      noise = torch.randn(weight.shape, generator=generator)
      weight.copy_(float(scale) + size * noise)
    for name, values in model.named_buffers():
      if name == "final_logits_bias":
        values.copy_(0.5 * torch.randn(values.shape, generator=generator))
  return model.eval()


def padded(lengths, ids: range, pad: int, last: int | None, seed: int):
  """Random ids `[b, t]` of these lengths, ending in `last`, and the mask of real
  tokens."""
  generator = torch.Generator().manual_seed(seed)
  id_bt = torch.full((len(lengths), max(lengths)), pad)
  mask_bt = torch.zeros_like(id_bt)
  for row, length in enumerate(lengths):
    row_ids = torch.randint(ids.start, ids.stop, (length,), generator=generator)
    if last is not None:
      row_ids[-1] = last
    id_bt[row, :length], mask_bt[row, :length] = row_ids, 1
  return id_bt, mask_bt


def search(model, inputs) -> dict:
  """The outputs of greedy and of beam search."""
  return {
    name: model.generate(**inputs, num_beams=beams, do_sample=False)
    for name, beams in (("greedy", 1), ("beam", 4))
  }


def telling(outputs: dict, eos: int) -> bool:
  """Whether outputs have several tokens and lengths, and beam search finds others than
  greedy search."""
  greedy = [tuple(row) for row in outputs["greedy"].tolist()]
  lengths = {row.index(eos, 1) for row in greedy if eos in row[1:]}
  beam = [tuple(row) for row in outputs["beam"].tolist()]
  varied = len(set().union(*greedy)) > 7
  return varied and len(lengths) > 1 and beam != greedy


def write(name: str, make, ids: range, **generation) -> None:
  """A model, the first of its kind that is telling; what it computes; and what it
  generates."""
  for seed in range(10_000):
    model = randomise(make(), seed)
    if write_if_telling(name, model, ids, **generation):
      return


def write_if_telling(name: str, model, ids: range, **generation) -> bool:
  config = model.config
  source_bs, mask_bs = padded(
    SOURCES, ids, config.pad_token_id, config.eos_token_id, seed=1
  )
  target_bt, target_mask_bt = padded(TARGETS, ids, config.pad_token_id, None, seed=2)
  target_bt[:, 0] = config.decoder_start_token_id
  inputs = {"input_ids": source_bs, "attention_mask": mask_bs}
  with torch.no_grad():
    logits_btv = model(**inputs, decoder_input_ids=target_bt).logits
  model.generation_config.update(max_length=20, **generation)
  searches = search(model, inputs)
  if not telling(searches, config.eos_token_id):
    return False
  model.generation_config.update(num_beams=4)
  path = FIXTURES / name
  shutil.rmtree(path, ignore_errors=True)
  model.save_pretrained(path)
  tensors = {**inputs, "decoder_input_ids": target_bt, "logits": logits_btv, **searches}
  tensors["decoder_mask"] = target_mask_bt
  save_file(
    {k: v.contiguous() for k, v in tensors.items()}, path / "expected.safetensors"
  )
  print(name, sum(file.stat().st_size for file in path.iterdir()), searches)
  return True


def marian(name: str, activation: str, **settings) -> None:
  config = transformers.MarianConfig(
    **SIZES, activation_function=activation, scale_embedding=True, pad_token_id=42,
    eos_token_id=0, decoder_start_token_id=42, decoder_vocab_size=43, **settings,
  )  # fmt: skip
  write(
    name,
    lambda: transformers.MarianMTModel(config),
    range(2, 42),
    forced_eos_token_id=0,
    bad_words_ids=[[42]],
  )


def m2m() -> None:
  config = transformers.M2M100Config(
    **SIZES, activation_function="relu", scale_embedding=True, pad_token_id=1,
    bos_token_id=0, eos_token_id=2, decoder_start_token_id=2,
  )  # fmt: skip
  write(
    "m2m",
    lambda: transformers.M2M100ForConditionalGeneration(config),
    range(4, 43),
    forced_bos_token_id=40,
  )


def bart() -> None:
  config = transformers.BartConfig(
    **SIZES, activation_function="gelu", scale_embedding=False, pad_token_id=1,
    bos_token_id=0, eos_token_id=2, decoder_start_token_id=2,
  )  # fmt: skip
  write(
    "bart",
    lambda: transformers.BartForConditionalGeneration(config),
    range(4, 43),
    forced_bos_token_id=0,
    forced_eos_token_id=2,
  )


def mbart() -> None:
  config = transformers.MBartConfig(
    **SIZES, activation_function="gelu", scale_embedding=True, pad_token_id=1,
    bos_token_id=0, eos_token_id=2, decoder_start_token_id=2,
  )  # fmt: skip
  write(
    "mbart",
    lambda: transformers.MBartForConditionalGeneration(config),
    range(4, 43),
    forced_bos_token_id=41,
    forced_eos_token_id=2,
  )


if __name__ == "__main__":
  marian("marian", "swish")
  marian("marian_target_tied", "relu", share_encoder_decoder_embeddings=False)
  m2m()
  bart()
  mbart()
