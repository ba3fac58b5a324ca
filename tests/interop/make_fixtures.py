"""Makes the fixtures of encoder-decoders with the Hugging Face classes.

Needs a Python with PyTorch and transformers: `python make_fixtures.py`. Writes
`fixtures/NAME/`: a small random model as `save_pretrained` writes it, and
`expected.safetensors` with inputs, the logits that the class computes from them, and
the tokens that its greedy and its beam search find.
"""

import json
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
SOURCES, TARGETS = (9, 4, 6, 12, 10), (5, 7, 2, 4, 6)


def randomise(model, seed: int, size: float = 0.2):
  """Random weights, scales around 1 and no bias 0, so that each can be wrong."""
  generator = torch.Generator().manual_seed(seed)
  with torch.no_grad():
    for name, weight in model.named_parameters():
      if "embed_positions" in name and not weight.requires_grad:
        continue
      scale = "norm" in name.lower() and name.endswith("weight")
      noise = torch.randn(weight.shape, generator=generator)
      weight.copy_(float(scale) + size * noise)
    for name, values in model.named_buffers():
      if name == "final_logits_bias":
        values.copy_(0.2 * torch.randn(values.shape, generator=generator))
  return model


def train(model, ids: range, steps: int = 300):
  """A model that has begun to learn to write its sources backwards: the outputs of
  random weights would be one token again and again."""
  config, optimizer = model.config, torch.optim.Adam(model.parameters(), 5e-3)
  generator = torch.Generator().manual_seed(0)
  model.train()
  for step in range(steps):
    lengths = torch.randint(2, 9, (16,), generator=generator).tolist()
    source_bs, mask_bs = padded(
      lengths, ids, config.pad_token_id, config.eos_token_id, seed=step
    )
    label_bt = torch.full_like(source_bs, -100)
    for row, length in enumerate(lengths):
      label_bt[row, : length - 1] = source_bs[row, : length - 1].flip(0)
      label_bt[row, length - 1] = config.eos_token_id
    loss = model(input_ids=source_bs, attention_mask=mask_bs, labels=label_bt).loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
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


def check_telling(outputs: dict, eos: int) -> None:
  """Raises ValueError unless outputs have several tokens and lengths."""
  greedy = outputs["greedy"].tolist()
  lengths = {row.index(eos, 1) for row in greedy if eos in row[1:]}
  if len(set().union(*map(set, greedy))) < 7 or len(lengths) < 2:
    raise ValueError(f"these outputs tell little; train for longer: {outputs}")


def write(name: str, model, ids: range, **generation) -> None:
  """A model, what it computes and what it generates."""
  model = train(randomise(model, len(name)), ids)
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
  check_telling(searches, config.eos_token_id)
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


def marian(name: str, activation: str, **settings) -> None:
  config = transformers.MarianConfig(
    **SIZES, activation_function=activation, scale_embedding=True, pad_token_id=42,
    eos_token_id=0, decoder_start_token_id=42, decoder_vocab_size=43, **settings,
  )  # fmt: skip
  write(
    name,
    transformers.MarianMTModel(config),
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
    transformers.M2M100ForConditionalGeneration(config),
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
    transformers.BartForConditionalGeneration(config),
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
    transformers.MBartForConditionalGeneration(config),
    range(4, 43),
    forced_bos_token_id=41,
    forced_eos_token_id=2,
  )


def t5(name: str, **settings) -> None:
  config = transformers.T5Config(
    vocab_size=45, d_model=24, d_kv=7, d_ff=28, num_layers=2, num_decoder_layers=3,
    num_heads=4, relative_attention_num_buckets=8, relative_attention_max_distance=10,
    decoder_start_token_id=0, use_cache=False, **settings,
  )  # fmt: skip  # its cache has the encoder's number of layers
  model = transformers.T5ForConditionalGeneration(config)
  untied = settings.get("tie_word_embeddings") is False
  if untied:
    model.lm_head.weight = torch.nn.Parameter(torch.empty(45, 24))
  write(name, model, range(3, 45))
  if untied:
    # As the authors' directories have it: the class rewrites the setting.
    path = FIXTURES / name / "config.json"
    values = json.loads(path.read_text()) | {"tie_word_embeddings": False}
    del values["scale_decoder_outputs"]
    path.write_text(json.dumps(values, indent=2) + "\n")


def torch_files() -> None:
  """Tensors of every kind in both layouts of `torch.save`, and the same ones in
  safetensors."""
  base = torch.arange(24, dtype=torch.float32).reshape(4, 6) / 7
  tensors = {
    "float32": base,
    "transposed": base.T,
    "part": base[1:, ::2],
    "float16": base.half(),
    "bfloat16": base.bfloat16(),
    "int64": torch.tensor([3, -4]),
    "bool": torch.tensor([True, False]),
    "scalar": torch.tensor(2.5),
    "empty": torch.zeros(0, 3),
  }
  for zipped in (True, False):
    path = FIXTURES / f"torch_{'zip' if zipped else 'old'}.bin"
    torch.save(tensors, path, _use_new_zipfile_serialization=zipped)
  copies = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
  save_file(copies, FIXTURES / "torch.safetensors")


if __name__ == "__main__":
  torch.set_num_threads(1)
  torch_files()
  marian("marian", "swish")
  marian("marian_target_tied", "relu", share_encoder_decoder_embeddings=False)
  m2m()
  bart()
  mbart()
  t5("t5")
  t5("flan_t5", feed_forward_proj="gated-gelu", tie_word_embeddings=False)
