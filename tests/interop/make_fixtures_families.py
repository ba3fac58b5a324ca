"""Makes the fixtures of T5, BERT, GPT-2, ViT and DeiT with the Hugging Face classes.

Needs a Python with PyTorch and transformers: `python make_fixtures_families.py`. Writes
`fixtures/FAMILY/`: a small random model as `save_pretrained` writes it, and
`expected.safetensors` with inputs and what the class computes from them.
"""

import json
import shutil
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file

FIXTURES = Path(__file__).with_name("fixtures")


def randomise(model, seed: int):
  """Random weights, scales around 1 and no bias 0, so that each can be wrong."""
  generator = torch.Generator().manual_seed(seed)
  with torch.no_grad():
    for name, weight in model.named_parameters():
      centre = 1.0 if "norm" in name.lower() and name.endswith("weight") else 0.0
      centre = (
        1.0 if name.endswith(("ln_1.weight", "ln_2.weight", "ln_f.weight")) else centre
      )
      weight.copy_(centre + 0.25 * torch.randn(weight.shape, generator=generator))
  return model.eval()


def write(name: str, model, expected: dict) -> None:
  """A model and what it computes."""
  path = FIXTURES / name
  shutil.rmtree(path, ignore_errors=True)
  model.save_pretrained(path)
  tensors = {key: value.detach().contiguous() for key, value in expected.items()}
  save_file(tensors, path / "expected.safetensors")
  size = sum(file.stat().st_size for file in path.iterdir())
  print(f"{name}: {size:,} bytes")


def padded(lengths, vocabulary: int, first: int, last: int, seed: int, pad: int = 0):
  """Ids `[b, t]` of random texts of these lengths, each ending in `last`, and the mask
  of real tokens."""
  generator = torch.Generator().manual_seed(seed)
  ids = torch.full((len(lengths), max(lengths)), pad)
  for row, length in enumerate(lengths):
    ids[row, :length] = torch.randint(first, vocabulary, (length,), generator=generator)
    ids[row, length - 1] = last
  mask = torch.zeros_like(ids)
  for row, length in enumerate(lengths):
    mask[row, :length] = 1
  return ids, mask


def t5(name: str, **settings) -> None:
  """T5: the original with ReLU and tied logits, v1.1 with a gate and its own logits."""
  config = transformers.T5Config(
    vocab_size=43, d_model=20, d_kv=6, d_ff=28, num_layers=2, num_heads=3,
    relative_attention_num_buckets=8, relative_attention_max_distance=11,
    dropout_rate=0.1, decoder_start_token_id=0, pad_token_id=0, eos_token_id=1,
    **settings,
  )  # fmt: skip
  model = randomise(transformers.T5ForConditionalGeneration(config), 1)
  if not settings.get("tie_word_embeddings", True):
    generator = torch.Generator().manual_seed(5)
    head = torch.randn(model.lm_head.weight.shape, generator=generator)
    model.lm_head.weight = torch.nn.Parameter(head / 2)
  source, mask = padded((17, 9, 4), 43, 3, 1, seed=2)
  target, _ = padded((7, 5, 13), 43, 3, 1, seed=3)
  shifted = torch.cat([torch.zeros_like(target[:, :1]), target[:, :-1]], 1)
  with torch.no_grad():
    logits = model(
      input_ids=source, attention_mask=mask, decoder_input_ids=shifted
    ).logits
    encoded = model.encoder(input_ids=source, attention_mask=mask).last_hidden_state
    greedy = model.generate(
      input_ids=source, attention_mask=mask, max_new_tokens=12, num_beams=1,
      do_sample=False,
    )  # fmt: skip
    beam = model.generate(
      input_ids=source, attention_mask=mask, max_new_tokens=12, num_beams=3,
      do_sample=False, early_stopping=False, length_penalty=1.0,
    )  # fmt: skip
  write(name, model, dict(
    source=source, source_mask=mask, target=target, logits=logits, encoded=encoded,
    greedy=greedy, beam=beam,
  ))  # fmt: skip


BERT = dict(
  vocab_size=47, hidden_size=24, num_hidden_layers=2, num_attention_heads=4,
  intermediate_size=36, max_position_embeddings=19, type_vocab_size=2,
  pad_token_id=0,
)  # fmt: skip


def bert(name: str, kind: str, output: str, **settings) -> None:
  """BERT with one of its heads, or none."""
  config = transformers.BertConfig(**BERT, **settings)
  model = randomise(getattr(transformers, kind)(config), 7)
  ids, mask = padded((11, 6, 3), 47, 5, 3, seed=8)
  ids[:, 0] = 2
  with torch.no_grad():
    found = model(input_ids=ids, attention_mask=mask)
    core = model if kind == "BertModel" else model.bert
    encoded = core(input_ids=ids, attention_mask=mask).last_hidden_state
  write(name, model, dict(
    ids=ids, mask=mask, output=getattr(found, output), encoded=encoded
  ))  # fmt: skip


def gpt2() -> None:
  """GPT-2; its texts begin with the end of the one before."""
  config = transformers.GPT2Config(
    vocab_size=41, n_positions=23, n_embd=24, n_layer=2, n_head=3, n_inner=30,
    bos_token_id=40, eos_token_id=40,
  )  # fmt: skip
  model = randomise(transformers.GPT2LMHeadModel(config), 11)
  generator = torch.Generator().manual_seed(12)
  ids = torch.randint(0, 40, (3, 9), generator=generator)
  ids[:, 0] = 40
  with torch.no_grad():
    logits = model(input_ids=ids).logits
    greedy = [
      model.generate(
        input_ids=ids[i : i + 1, :length], max_new_tokens=9, do_sample=False,
        pad_token_id=40, attention_mask=torch.ones(1, length),
      )[0]
      for i, length in enumerate((4, 6, 9))
    ]  # fmt: skip
  continuation = torch.full((3, 18), 40)
  for i, row in enumerate(greedy):
    continuation[i, : len(row)] = row
  write("gpt2", model, dict(
    ids=ids, logits=logits, greedy=continuation,
    prompt_lengths=torch.tensor([4, 6, 9]),
  ))  # fmt: skip


def image_model(name: str, kind: str, **settings) -> None:
  """ViT and DeiT on images of bytes."""
  config_class = (
    transformers.ViTConfig if kind.startswith("ViT") else transformers.DeiTConfig
  )
  labels = {0: "cat", 1: "dog", 2: "sea horse", 3: "newt", 4: "yak"}
  config = config_class(
    hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=30,
    image_size=12, patch_size=4, num_channels=3, id2label=labels,
    label2id={v: k for k, v in labels.items()}, **settings,
  )  # fmt: skip
  model = randomise(getattr(transformers, kind)(config), 13)
  generator = torch.Generator().manual_seed(14)
  images = torch.randint(0, 256, (3, 12, 12, 3), generator=generator)
  mean, deviation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
  pixels = (images / 255.0 - torch.tensor(mean)) / torch.tensor(deviation)
  with torch.no_grad():
    logits = model(pixel_values=pixels.permute(0, 3, 1, 2).contiguous()).logits
  write(name, model, dict(images=images.to(torch.uint8), logits=logits))
  preprocessor = {
    "do_normalize": True, "do_rescale": True, "do_resize": True,
    "image_mean": mean, "image_std": deviation,
    "image_processor_type": "ViTImageProcessor", "resample": 2,
    "rescale_factor": 1 / 255, "size": {"height": 12, "width": 12},
  }  # fmt: skip
  text = json.dumps(preprocessor, indent=2)
  (FIXTURES / name / "preprocessor_config.json").write_text(text + "\n")


if __name__ == "__main__":
  t5("t5", feed_forward_proj="relu")
  t5("flan_t5", feed_forward_proj="gated-gelu", tie_word_embeddings=False)
  bert("bert", "BertModel", "pooler_output")
  bert("bert_masked", "BertForMaskedLM", "logits")
  bert("bert_pretraining", "BertForPreTraining", "prediction_logits")
  bert(
    "bert_classifier", "BertForSequenceClassification", "logits",
    id2label={0: "bad", 1: "so so", 2: "good"},
    label2id={"bad": 0, "so so": 1, "good": 2},
  )  # fmt: skip
  gpt2()
  image_model("vit", "ViTForImageClassification")
  image_model("deit", "DeiTForImageClassification")
  image_model("deit_distilled", "DeiTForImageClassificationWithTeacher")
